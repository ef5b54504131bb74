"""What a model has learned from, in bins and thresholds: the stage `reference` writes it, the drift check reads it."""
