"""The service's container: built from the Bento, and looked at before anything trusts it."""

from .build import build, tag
from .verify import verify

__all__ = ["build", "tag", "verify"]
