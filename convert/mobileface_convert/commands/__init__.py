"""The ``mobileface-convert`` command."""
