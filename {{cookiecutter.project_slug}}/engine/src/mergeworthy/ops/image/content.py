"""What is in the image beside its packages. It names the image: another model or other code is another image."""

import hashlib
from pathlib import Path

from ... import files
from ...errors import UserError
from .. import dvc_files, git

BENTO, LEFT_OUT = Path("bentofile.yaml"), Path(".bentoignore")
DECIDES = (str(BENTO), str(LEFT_OUT), "deploy/image", "pyproject.toml")  # the last by the date that packages are from


def paths() -> list[str]:
    """Give what goes into the image, and what decides on it, as git's pathspecs."""
    content = files.read_yaml(BENTO)
    included = content.get("include") if isinstance(content, dict) else None
    if not isinstance(included, list) or not all(isinstance(path, str) for path in included):
        raise UserError(f"{BENTO}: include: a list of paths is expected: restore it from git")
    left_out = [
        line
        for line in files.read_text(LEFT_OUT, "restore it from git").splitlines()
        if line and not line.startswith("#")
    ]
    return [*included, *DECIDES, *(f":(exclude){one}" for one in left_out)]


def fingerprint() -> str:
    """Give 12 hex digits of these files as they lie here; those that DVC keeps are told by dvc.lock, which is one."""
    names = [name for name in git.files(*paths()) if Path(name).is_file()]
    told = "".join(f"{name}\0{dvc_files.md5(Path(name))}\n" for name in names)
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def commit() -> str | None:
    """Give the newest commit on this line that changed any of it; None before the first."""
    return git.newest(*paths())
