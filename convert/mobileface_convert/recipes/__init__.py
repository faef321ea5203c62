"""Recipes: one TOML file per model, with everything that its conversion needs."""
