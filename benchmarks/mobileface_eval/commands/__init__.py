"""The commands of ``mobileface-eval``."""
