"""`make cml`: the program that sends the report, used only if it is the very file that this repository recorded.

GitHub keeps no digest of release files as old as CML's (October 2024), and a tag can be moved. So the digest is the
project's own: `make cml RECORD=1` writes it to `.github/cml.sha256` once, a reviewer approves that line, and from then
on another file is refused. Before that CML is left out, and `gh` sends the report.
"""

import hashlib
import os
import platform
import shutil
from pathlib import Path

from .. import files
from ..errors import UserError
from ..process import Deadline, call
from ..text import say

VERSION = "v0.20.6"
PROGRAM = Path(".tools/bin/cml")
DIGESTS = Path(".github/cml.sha256")


def run() -> None:
    """Install CML, unless a `cml` of the machine's own is there, and say in a line what came of it."""
    if shutil.which("cml") and not PROGRAM.exists():
        say("this machine's own cml sends the report")
        return
    say(install(record=bool(os.environ.get("RECORD"))))


def install(*, record: bool = False) -> str:
    """Download CML for this machine and keep it if its SHA-256 is the recorded one; with `record`, record it first.

    Raise `UserError` if another digest is recorded: nothing is kept then.
    """
    name = f"cml-{_system()}"
    wanted = _recorded().get(name)
    if wanted is None and not record:
        PROGRAM.unlink(missing_ok=True)
        return f"gh sends the report: {DIGESTS} records no digest of {name} {VERSION}, `make cml RECORD=1` does"
    if not PROGRAM.exists() or _sha256(PROGRAM) != wanted:
        part = PROGRAM.with_suffix(".part")
        part.parent.mkdir(parents=True, exist_ok=True)
        _download(name, part)
        found = _sha256(part)
        if wanted and found != wanted:
            part.unlink()
            raise UserError(
                f"{name} {VERSION} is not the file that {DIGESTS} records (SHA-256 {found}, expected {wanted}): do not "
                "use it; if a reviewer trusts the new one, delete that line and run `make cml RECORD=1`"
            )
        part.chmod(0o755)
        part.replace(PROGRAM)
    if wanted is None:
        with DIGESTS.open("a") as file:
            file.write(f"{_sha256(PROGRAM)}  {name}\n")
        return f"recorded the digest of {name} {VERSION} in {DIGESTS}: compare it with a colleague's, and commit it"
    return f"cml {VERSION} is the recorded file"


def _recorded() -> dict[str, str]:
    """Return file name → SHA-256, as `sha256sum` writes them."""
    lines = files.read_text(DIGESTS, "restore it from git").splitlines() if DIGESTS.exists() else []
    entries = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    if any(len(entry) != 2 for entry in entries):
        raise UserError(f"{DIGESTS} must hold lines of `<SHA-256>  <file>`: restore it from git")
    return {name: digest for digest, name in entries}


def _system() -> str:
    system = "macos" if platform.system() == "Darwin" else "linux"
    return f"{system}-{'x64' if platform.machine() == 'x86_64' else 'arm64'}"


def _download(name: str, to: Path) -> None:
    where = ["--repo", "iterative/cml", "--pattern", name, "--output", str(to), "--clobber"]
    try:
        done = call(["gh", "release", "download", VERSION, *where], f"GitHub ({name})", Deadline.EXCHANGE)
    except FileNotFoundError:
        raise UserError("gh is not installed, and nothing else downloads cml: see infra/runner/README.md") from None
    if done.returncode:
        raise UserError(f"{name} {VERSION} cannot be downloaded: {done.stderr.strip()}")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
