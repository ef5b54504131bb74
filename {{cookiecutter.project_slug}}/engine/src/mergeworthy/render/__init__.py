"""Markdown and charts, for the report, the gate and the drift check."""
