"""Can the cluster be asked? Told in some seconds, and without Ray's import."""

import importlib.util
import re
import socket

from ...errors import UserError

TIMEOUT = 5  # seconds until an address that does not answer counts as wrong


def reach(address: str) -> None:
    """Raise `UserError` where Ray is not installed here, or nothing listens at `address`."""
    if not importlib.util.find_spec("ray"):
        raise UserError("infra.yaml: ray: the package is not installed here: run `make setup`")
    found = re.fullmatch(r"ray://(.+):(\d+)", address)
    if not found:
        raise UserError(f"infra.yaml: ray.address, or RAY_ADDRESS: {address} is not ray://host:port")
    try:
        socket.create_connection((found[1], int(found[2])), TIMEOUT).close()
    except OSError as error:
        raise UserError(f"no Ray cluster answers at {address} ({error}): see infra.yaml, or RAY_ADDRESS") from None
