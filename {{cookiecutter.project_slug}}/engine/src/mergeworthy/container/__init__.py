"""The service's image: built, scanned, and verified before anything trusts it."""
