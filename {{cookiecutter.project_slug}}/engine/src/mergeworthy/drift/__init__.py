"""The drift check: is the champion still right for the data that comes in? `decision` decides, `check` is the verb."""
