"""From monthly data to a judged model: ml/ (what a data scientist edits), stages/ (DVC), ops/ (the outside world)."""
