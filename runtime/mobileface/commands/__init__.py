"""What the subcommands of ``mobileface`` do; `mobileface.cli` parses their options."""
