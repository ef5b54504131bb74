"""git, GitHub, DVC and CI: one way to call each."""
