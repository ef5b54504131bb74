"""The gate: whether a model may be merged."""
