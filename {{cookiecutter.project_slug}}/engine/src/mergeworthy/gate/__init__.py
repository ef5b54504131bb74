"""The gate: the checks that decide whether a model may be merged."""
