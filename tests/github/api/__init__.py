"""GitHub's REST endpoints, a module per subject. Importing the package registers them all."""

from . import accounts, checks, contents, issues, labels, pulls, releases, rules, settings

__all__ = ["accounts", "checks", "contents", "issues", "labels", "pulls", "releases", "rules", "settings"]
