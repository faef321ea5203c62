"""Builds models from recipes: variants, certificates, model cards, the index and bundles."""
