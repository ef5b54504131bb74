"""The programs that tests run and Python packages do not bring, each with the package that brings it.

`.ci/run` installs from this list, and tests ask for a program by its name here, so neither can forget one.
"""

import os
import shutil
import sys
import time
from pathlib import Path

import pytest

DEBIAN = {
    "buildah": "buildah",
    "catatonit": "catatonit",
    "docker-registry": "docker-registry",
    "gh": "gh",
    "initdb": "postgresql",
    "openssl": "openssl",
    "podman": "podman",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "runc": "runc",
    "shellcheck": "shellcheck",
    "systemd-analyze": "systemd",
}
GO = {  # the quickly compiled first
    "actionlint": "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12",
    "kustomize": "sigs.k8s.io/kustomize/kustomize/v5@v5.7.1",
    "act": "github.com/nektos/act@v0.2.87",
    "cosign": "github.com/sigstore/cosign/v3/cmd/cosign@v3.0.6",
}


def missing(*programs: str) -> list[str]:
    """Return those of `programs` that this machine lacks; a program that is being compiled is waited for."""
    for program in programs:
        if program in GO:
            _wait_for_compiler(program)
        elif program not in DEBIAN and program not in ("apt-get", "git"):
            raise ValueError(f"{program}: add the package that brings it to tests/tools.py")
    return [program for program in programs if _find(program) is None]


def require(*programs: str) -> None:
    """Skip the test if a program is missing; fail it if REQUIRE_TOOLS=1 says that all must be there."""
    if absent := missing(*programs):
        message = f"not on this machine: {', '.join(absent)}"
        if os.environ.get("REQUIRE_TOOLS") == "1":
            pytest.fail(message)
        pytest.skip(message)


def _find(program: str) -> str | None:
    """Return the program's path; Debian keeps PostgreSQL's own programs out of PATH."""
    kept_apart = sorted(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{program}")))
    return shutil.which(program) or next(iter(kept_apart), None)


def _wait_for_compiler(program: str) -> None:
    """Wait until `.ci/run`'s compiler, whose process TOOLS_COMPILER names, has written the program or ended."""
    compiler = os.environ.get("TOOLS_COMPILER")
    while compiler and shutil.which(program) is None and Path(f"/proc/{compiler}").exists():
        time.sleep(1)


if __name__ == "__main__":
    print(*sorted(set(DEBIAN.values())) if sys.argv[1:] == ["debian"] else [f"{k}={v}" for k, v in GO.items()])
