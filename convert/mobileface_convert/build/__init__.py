"""From a recipe to files: variants, certificates, cards, the index and bundles."""
