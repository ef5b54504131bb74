"""Push the image, once: what a tag names in the registry is never replaced."""

import json
import subprocess
from dataclasses import asdict

from ...errors import UserError
from .. import workflow
from ..image import tag
from ..image.engine import call, engine
from . import registry
from .made import release


def publish() -> str:
    """Give the digest of this image in the registry, which has it afterwards."""
    image = tag()
    if found := registry.digest(image):
        return found
    program = engine()
    _log_in(program, image.partition("/")[0])
    call(program, "push", image)
    found = registry.digest(image)
    if found is None:
        raise UserError(f"{image} was pushed, and the registry does not know it: run the step again")
    return found


def _log_in(program: str, host: str) -> None:
    known = registry.login(host)
    if known is None:
        return
    command = [program, "login", "--username", known[0], "--password-stdin", host]
    done = subprocess.run(command, input=known[1], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{program} cannot log in to {host}: see REGISTRY_USER and REGISTRY_PASSWORD")


def run() -> None:
    """Print repository and digest, and hand the release to the workflow where there is one."""
    publish()
    made = release()
    print(f"{made.repository}@{made.digest}")
    workflow.outputs(release=json.dumps(asdict(made)), repository=made.repository, digest=made.digest)
