"""One TOML file for each model: all its facts."""
