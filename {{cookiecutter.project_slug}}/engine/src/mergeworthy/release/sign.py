"""Sign the image with a key of the team's own, for registries and plans where GitHub's attestations are not to be had.

cosign signs what the registry has under the digest, and the signature says what it was made of. It lies beside the
image in the registry, and needs neither an account nor a public log.
"""

import os
import shutil
import tempfile
from pathlib import Path

from ..container.engine import call
from ..errors import UserError
from ..text import say
from . import registry
from .made import release
from .overlay import Release

PUBLIC = Path("deploy/cosign.pub")
KEY = "COSIGN_PRIVATE_KEY"
PAIR = f"`cosign generate-key-pair` makes both: the public one is {PUBLIC}, the other one the secret {KEY}"


def sign(made: Release) -> str:
    """Sign the digest, unless this key signed it already, and say in a sentence what came of it."""
    if not PUBLIC.exists():
        return f"no key of yours signs the image: {PUBLIC} is missing"
    if shutil.which("cosign") is None:
        raise UserError(f"{PUBLIC} asks for a signature, and cosign is not installed")
    registry.log_in("cosign", made.repository.partition("/")[0])
    image = f"{made.repository}@{made.digest}"
    if _is_signed(image, made) is None:
        return f"{image} is signed already"
    if not os.environ.get(KEY):
        raise UserError(f"{PUBLIC} asks for a signature, and {KEY} is empty: {PAIR}")
    with tempfile.TemporaryDirectory() as folder:
        nowhere = Path(folder, "signing.json")  # no service is told
        nowhere.write_text(call("cosign", "signing-config", "create"))
        key = ["--key", f"env://{KEY}", "--signing-config", str(nowhere)]
        call("cosign", "sign", "--yes", *key, *_made_of(made), image)
    if why := _is_signed(image, made):
        raise UserError(f"the signature is not one of {PUBLIC} ({why}): {PAIR}")
    return f"{image} is signed"


def _made_of(made: Release) -> list[str]:
    facts = {"commit": made.commit, "lock": made.lock, "data": made.data}
    return [word for key, value in facts.items() for word in ("--annotations", f"{key}={value}")]


def _is_signed(image: str, made: Release) -> str | None:
    """Why the key of this checkout does not vouch for the image; None where it does."""
    try:
        call("cosign", "verify", "--key", str(PUBLIC), "--insecure-ignore-tlog", *_made_of(made), image)
    except UserError as error:
        return str(error)
    return None


def run() -> None:
    """Sign what was published."""
    say(sign(release()))
