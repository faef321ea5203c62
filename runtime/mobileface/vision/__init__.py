"""Reads, scales, crops and draws images and videos; does not run models."""
