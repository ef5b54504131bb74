"""The tests of `mergeworthy`, a package: see stages/__init__.py."""
