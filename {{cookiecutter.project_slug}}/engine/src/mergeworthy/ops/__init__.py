"""One module per outside system. Nothing in ml/ may import from here; import-linter says so."""
