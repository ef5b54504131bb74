"""Tasks: what is predicted, with its target and its metrics."""
