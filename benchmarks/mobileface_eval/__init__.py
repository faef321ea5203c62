"""Evaluation and calibration of identification models on a workstation: ``mobileface-eval``."""
