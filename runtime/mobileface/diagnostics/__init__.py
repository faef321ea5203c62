"""Diagnostics of this machine: health check, self-test, certification and measurements."""
