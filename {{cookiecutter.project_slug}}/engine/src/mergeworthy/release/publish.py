"""Push the image, once: what a tag names in the registry is never replaced."""

import json
from dataclasses import asdict

from ..adapters import workflow
from ..container.build import tag
from ..container.engine import call, engine
from ..errors import UserError
from ..process import Deadline
from ..text import say
from . import registry, sign
from .made import release


def publish() -> str:
    """Give the digest of this image in the registry, which has it afterwards."""
    image = tag()
    if found := registry.digest(image):
        return found
    program = engine()
    registry.log_in(program, image.partition("/")[0])
    call(program, "push", image, deadline=Deadline.TRANSFER)
    found = registry.digest(image)
    if found is None:
        raise UserError(f"{image} was pushed, and the registry does not know it: run the step again")
    return found


def run() -> None:
    """Print repository and digest, and hand the release to the workflow where there is one."""
    publish()
    made = release()
    say(f"{made.repository}@{made.digest}")
    key = str(sign.PUBLIC.exists()).lower()
    workflow.outputs(release=json.dumps(asdict(made)), repository=made.repository, digest=made.digest, sign=key)
