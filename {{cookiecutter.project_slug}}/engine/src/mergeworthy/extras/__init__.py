"""Optional: what the core knows only by name."""
