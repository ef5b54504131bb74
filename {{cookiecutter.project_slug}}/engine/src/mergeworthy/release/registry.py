"""What a container registry has under a tag: asked by HTTP (OCI distribution), so that any engine will do."""

import base64
import http.client
import json
import os
import re
import urllib.error
import urllib.request
from urllib.parse import urlencode

from ..errors import UserError
from ..process import Deadline, call, proxy, within

KINDS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
GITHUB = "ghcr.io"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
ABSENT, REFUSED = 404, 401


def login(host: str) -> tuple[str, str] | None:
    """Give REGISTRY_USER and REGISTRY_PASSWORD; None where the engine is logged in already.

    GitHub's own registry takes the job's token too, and no other registry gets to see that.
    """
    password = os.environ.get("REGISTRY_PASSWORD") or (os.environ.get("GH_TOKEN") if host == GITHUB else None)
    return (os.environ.get("REGISTRY_USER") or "token", password) if password else None


def log_in(program: str, host: str) -> None:
    """Let an engine, or another program with its options, into the registry; as it is where no password is known."""
    known = login(host)
    if known is None:
        return
    command = [program, "login", "--username", known[0], "--password-stdin", host]
    done = call(command, f"the registry {host}", Deadline.ANSWER, text=known[1])
    if done.returncode:
        raise UserError(f"{program} cannot log in to {host}: see REGISTRY_USER and REGISTRY_PASSWORD")


def digest(image: str) -> str | None:
    """Give the digest that `repository:tag` has in its registry; None where there is none."""
    host, _, rest = image.partition("/")
    name, _, tag = rest.rpartition(":")
    scheme = "http" if host.partition(":")[0] in ("127.0.0.1", "localhost") else "https"  # as every engine does
    url = f"{scheme}://{host}/v2/{name}/manifests/{tag}"
    try:
        return _head(url, {})
    except urllib.error.HTTPError as error:
        if error.code == ABSENT:
            return None
        if error.code != REFUSED:
            raise UserError(f"the registry refused {image}: HTTP {error.code}") from None
        challenge = error.headers.get("WWW-Authenticate", "")
    except (OSError, http.client.HTTPException) as error:
        raise _silence(host, url, error) from None
    try:
        return _head(url, {"Authorization": _authorization(challenge, login(host))})
    except urllib.error.HTTPError as error:
        if error.code == ABSENT:
            return None
        raise UserError(f"the registry refused {image}: HTTP {error.code}, see REGISTRY_PASSWORD") from None
    except (OSError, http.client.HTTPException) as error:
        raise _silence(host, url, error) from None


def _silence(host: str, url: str, error: Exception) -> UserError:
    why = f"the registry {host} does not answer ({error}){proxy(url)}"
    return UserError(f"{why}: see image.repository in infra.yaml")


def _head(url: str, headers: dict[str, str]) -> str | None:
    accept = {"Accept": ", ".join(KINDS), **headers}
    request = urllib.request.Request(url, method="HEAD", headers=accept)  # noqa: S310 (http or https, made above)

    def ask() -> str | None:
        with urllib.request.urlopen(request, timeout=Deadline.ANSWER.seconds) as answer:  # noqa: S310 (as above)
            found: str | None = answer.headers.get("Docker-Content-Digest")
        return found

    found = within(Deadline.ANSWER, f"the registry {request.host}", ask)
    if found and not DIGEST.fullmatch(found):
        raise UserError(f"the registry {request.host} gives the digest {found[:80]!r}, which is none")
    return found


def _authorization(challenge: str, known: tuple[str, str] | None) -> str:
    """Answer a registry's challenge: by the password itself, or by a token that is asked for with it."""
    basic = "Basic " + base64.b64encode(":".join(known).encode()).decode() if known else ""
    asked = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    if not challenge.startswith("Bearer") or "realm" not in asked:
        return basic
    realm = asked["realm"]
    if not realm.startswith(("https://", "http://")):
        raise UserError(f"the registry names {realm} for its tokens, which is no address: see image.repository")
    query = urlencode({key: asked[key] for key in ("service", "scope") if key in asked})
    request = urllib.request.Request(f"{realm}?{query}", headers={"Authorization": basic} if basic else {})  # noqa: S310

    def ask() -> bytes:
        with urllib.request.urlopen(request, timeout=Deadline.ANSWER.seconds) as answer:  # noqa: S310 (the registry's own address)
            said: bytes = answer.read()
        return said

    try:
        said = json.loads(within(Deadline.ANSWER, f"the registry's tokens at {realm}", ask))
        return f"Bearer {said.get('token') or said['access_token']}"
    except (ValueError, KeyError, AttributeError, TypeError):
        raise UserError(f"{realm} gives no token for the registry: see image.repository in infra.yaml") from None
