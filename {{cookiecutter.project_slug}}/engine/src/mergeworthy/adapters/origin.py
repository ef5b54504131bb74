"""Which repository on which GitHub this checkout belongs to."""

import os
import re
import subprocess
from urllib.parse import urlsplit


def origin() -> tuple[str, str] | None:
    """Host and owner/name of the remote `origin`, or None where it is no repository on a server."""
    done = subprocess.run(["git", "remote", "get-url", "origin"], capture_output=True, text=True, check=False)
    return parse(done.stdout.strip(), os.environ.get("GH_HOST")) if done.returncode == 0 else None


def parse(url: str, gh_host: str | None = None) -> tuple[str, str] | None:
    """Read https://host/owner/name.git and git@host:owner/name; `gh_host` is gh's own setting and wins."""
    if "://" in url:
        parts = urlsplit(url)
        host, path = parts.hostname, parts.path
        if parts.scheme not in ("http", "https", "ssh", "git"):
            return None
    else:
        short = re.fullmatch(r"(?:[^@/:]+@)?([^/:]+):(.+)", url)
        host, path = (short[1], short[2]) if short else (None, "")
    name = re.fullmatch(r"/?([^/]+/[^/]+?)(?:\.git)?/?", path)
    if not host or not name:
        return None
    return gh_host or host.removeprefix("ssh."), name[1]
