"""What similarities mean: sets of embeddings, calibrated thresholds, error rates."""
