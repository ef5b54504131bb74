"""What is in the image beside its packages. It names the image: another model or other code is another image."""

import hashlib
from pathlib import Path

from .. import files
from ..adapters import git
from ..errors import UserError
from ..files import md5

BENTO, LEFT_OUT = Path("bentofile.yaml"), Path(".bentoignore")
ENGINE, SOURCE = Path("engine/src/mergeworthy"), Path("engine/pyproject.toml")
DECIDES = (str(BENTO), str(LEFT_OUT), "deploy/image", "pyproject.toml")  # the last by the date that packages are from


def paths() -> list[str]:
    """Give what goes into the image, and what decides on it, as git's pathspecs."""
    content = files.read_yaml(BENTO)
    included = content.get("include") if isinstance(content, dict) else None
    if not isinstance(included, list) or not all(isinstance(path, str) for path in included):
        raise UserError(f"{BENTO}: include: a list of paths is expected: restore it from git")
    return [*included, *DECIDES, *(f":(exclude){one}" for one in left_out())]


def left_out() -> list[str]:
    """Return the paths that the image leaves out."""
    lines = files.read_text(LEFT_OUT, "restore it from git").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def installed() -> Path | None:
    """Return the engine's folder if it is installed from elsewhere than engine/; else None."""
    return None if SOURCE.exists() else Path(__file__).parents[2]


def fingerprint() -> str:
    """Give 12 hex digits of these files as they lie here; those that DVC keeps are told by dvc.lock, which is one."""
    names = [name for name in git.files(*paths()) if Path(name).is_file()]
    told = "".join(f"{name}\0{md5(Path(name))}\n" for name in names)
    if folder := installed():
        told += "".join(f"{path.relative_to(folder)}\0{md5(path)}\n" for path in sorted(folder.rglob("*.py")))
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def commit() -> str | None:
    """Give the newest commit on this line that changed any of it; None before the first."""
    return git.newest(*paths())
