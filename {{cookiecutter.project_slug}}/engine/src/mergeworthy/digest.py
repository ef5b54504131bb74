"""What something was made from, as one hash."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from .errors import UserError


def digest(values: Iterable[str], files: Iterable[Path]) -> str:
    """Return the SHA-256 of texts and of files' content, in this order; raise `UserError` if one is unreadable."""
    parts = list(values)
    for path in files:
        try:
            with path.open("rb") as file:
                parts.append(hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            raise UserError(
                f"{path} cannot be read ({error.strerror}): bring it back, from git or with a verb"
            ) from None
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
