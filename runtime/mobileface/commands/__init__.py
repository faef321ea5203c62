"""The ``mobileface`` command: one module for each subcommand, options in `options`."""
