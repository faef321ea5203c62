"""The ``mobileface`` command: a module per subcommand; shared options are in `options`."""
