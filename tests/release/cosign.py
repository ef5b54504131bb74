"""cosign, as a team and whoever pulls its images use it."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

PASSWORD = "correct horse"  # noqa: S105 - of a key that lives as long as a test


def pair(folder: Path) -> dict[str, str]:
    """Make a pair of keys: cosign.pub stays in the folder, the other one and its password are given as secrets."""
    environment = os.environ | {"COSIGN_PASSWORD": PASSWORD}
    subprocess.run(["cosign", "generate-key-pair"], cwd=folder, env=environment, capture_output=True, check=True)
    private = folder / "cosign.key"
    secret = private.read_text()
    private.unlink()
    return {"COSIGN_PRIVATE_KEY": secret, "COSIGN_PASSWORD": PASSWORD}


def verified(public: Path, image: str) -> list[dict[str, Any]]:
    """What the signatures of this key say of the image; raises where there is none."""
    command = ["cosign", "verify", "--key", str(public), "--insecure-ignore-tlog", "--output", "json", image]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    claims: list[dict[str, Any]] = json.loads(done.stdout)
    return claims
