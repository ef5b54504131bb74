"""What is in the image beside its packages. It names the image: another model or other code is another image."""

import hashlib
from pathlib import Path

from ... import files
from .. import dvc_files, git

BENTO, LEFT_OUT = Path("bentofile.yaml"), Path(".bentoignore")
DECIDES = (str(BENTO), str(LEFT_OUT), "deploy/image", "pyproject.toml")  # the last by the date that packages are from


def paths() -> list[str]:
    """Give what goes into the image, and what decides on it, as git's pathspecs."""
    included: list[str] = files.read_yaml(BENTO)["include"]
    left_out = [line for line in LEFT_OUT.read_text().splitlines() if line and not line.startswith("#")]
    return [*included, *DECIDES, *(f":(exclude){one}" for one in left_out)]


def fingerprint() -> str:
    """Give 12 hex digits of these files as they lie here; those that DVC keeps are told by dvc.lock, which is one."""
    names = [name for name in git.files(*paths()) if Path(name).is_file()]
    told = "".join(f"{name}\0{dvc_files.md5(Path(name))}\n" for name in names)
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def commit() -> str | None:
    """Give the newest commit on this line that changed any of it; None before the first."""
    return git.newest(*paths())
