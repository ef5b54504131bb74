"""Is the champion still right for what comes in? `check` asks, `decide` answers, `show` and `evidence` tell it."""
