"""Statistics that gate, drift check and the stage `reference` share."""
