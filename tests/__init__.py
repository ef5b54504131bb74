"""The template's tests: what is generated, what is refused, and that what is generated runs."""
