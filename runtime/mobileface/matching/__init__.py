"""Comparison of embeddings: sets of embeddings, calibrated thresholds and error rates."""
