"""The service's image: `build` makes it, `scan` looks up its packages, `verify` tests it before a push."""
