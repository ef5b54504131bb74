"""The overlays in deploy/: which release runs in an environment.

The one file `deploy/overlays/<environment>/model/kustomization.yaml` names it; only commands write this file.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

from .. import files
from ..errors import UserError

ENVIRONMENTS = ("staging", "production")
VERBS = {"staging": "stage", "production": "promote"}
HEADER = "# Which model runs here. Written by `make {verb}`, never by hand; `git revert` brings the former one back."
NO_RELEASE = {"model/commit": "none"}  # annotations of the file as it is generated


@dataclass(frozen=True)
class Release:
    """An image by digest, and the model in it: its commit, hashes of lock and data, newest partition, verdict."""

    repository: str
    digest: str
    commit: str
    lock: str
    data: str
    partition: str
    verdict: str


def path(environment: str) -> Path:
    """Return the file that names the release of an environment."""
    return Path(f"deploy/overlays/{environment}/model/kustomization.yaml")


def text(release: Release, environment: str) -> str:
    """Return a release as kustomize reads it; the same release gives the same text."""
    facts = {f"model/{name}": value for name, value in asdict(release).items() if name not in ("repository", "digest")}
    component = {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "images": [{"name": "model", "newName": release.repository, "digest": release.digest}],
        "commonAnnotations": facts,
    }
    return HEADER.format(verb=VERBS[environment]) + "\n" + files.dump_yaml(component)


def read(content: str | None, name: str) -> Release | None:
    """Return the release that an overlay's file names; None if nothing was released yet.

    Raise `UserError` naming `name` if it is damaged: a damaged file does not count as one before the first release.
    """
    if content is None:
        return None
    try:
        component = files.parse_yaml(content, name)
        if not component.get("images") and component["commonAnnotations"] == NO_RELEASE:
            return None
        (image,) = component["images"]
        facts = {key.removeprefix("model/"): str(value) for key, value in component["commonAnnotations"].items()}
        return Release(repository=image["newName"], digest=image["digest"], **facts)
    except (UserError, KeyError, ValueError, TypeError, AttributeError):
        raise UserError(f"{name} is not what a release writes: bring it back with `git revert`") from None
