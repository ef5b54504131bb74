"""cosign, as a team and the users of its images run it."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

PASSWORD = "correct horse"  # noqa: S105 - of a key that only a test uses


def make_keys(folder: Path) -> dict[str, str]:
    """Make a pair of keys: cosign.pub stays in the folder; return the private key and its password as secrets."""
    environment = os.environ | {"COSIGN_PASSWORD": PASSWORD}
    subprocess.run(["cosign", "generate-key-pair"], cwd=folder, env=environment, capture_output=True, check=True)
    path = folder / "cosign.key"
    private_key = path.read_text()
    path.unlink()
    return {"COSIGN_PRIVATE_KEY": private_key, "COSIGN_PASSWORD": PASSWORD}


def verified_claims(public_key: Path, image: str) -> list[dict[str, Any]]:
    """Return the claims that this key has signed about the image; raise if there are none."""
    command = ["cosign", "verify", "--key", str(public_key), "--insecure-ignore-tlog", "--output", "json", image]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    claims: list[dict[str, Any]] = json.loads(result.stdout)
    return claims
