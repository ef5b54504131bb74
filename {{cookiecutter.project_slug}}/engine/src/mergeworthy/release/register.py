"""MLflow's registry mirrors the release: a version per training, the alias `champion`, and tags that lead to git."""

import sys
from typing import TYPE_CHECKING

from ..adapters import git
from ..adapters.lineage import lineage
from ..config import infra
from ..text import say
from ..tracking import TrackingError
from ..tracking.reach import reach
from . import made
from .card import card
from .overlay import Release

if TYPE_CHECKING:
    from mlflow import MlflowClient

ALIAS = "champion"


def register(release: Release) -> str:
    """Register what was published, once, and say in a sentence which version it is."""
    tracking = infra().tracking
    reach(tracking.address, tracking.experiment)
    from mlflow import register_model, set_experiment

    from ..tracking.mirror import mirror
    from ..tracking.runs import finished
    from ..tracking.server import answered, connected

    mirror(tracking.address, tracking.experiment)
    name = tracking.experiment
    with connected(tracking.address) as client:
        version = _version(client, name, release.lock)
        if version is None:
            run = finished(client, answered(tracking.address, lambda: set_experiment(name)).experiment_id, release.lock)
            if run is None or run.outputs is None:
                raise TrackingError(f"MLflow has no whole run of {release.lock[:12]}: run `make track`")
            (output,) = run.outputs.model_outputs
            # With its tag at once, so that a kill right after it leaves nothing that is registered again.
            model, tags = f"models:/{output.model_id}", {"lock": release.lock}
            version = answered(tracking.address, lambda: register_model(model, name, tags=tags)).version
            client.update_model_version(name, version, description=card())
        told = client.get_model_version(name, version).tags.get("commit")
        if told and not git.is_ancestor(told, release.commit):
            return f"MLflow has version {version} of {name}, released from a later commit: left as it is"
        for key, value in {**lineage(), "commit": release.commit, "digest": release.digest}.items():
            client.set_model_version_tag(name, version, key, value)
        return f"MLflow has version {version} of {name}{_champion(client, name, version, release.commit)}"


def _version(client: "MlflowClient", name: str, lock: str) -> str | None:
    found = client.search_model_versions(f"name = '{name}'")
    return next((str(one.version) for one in found if one.tags.get("lock") == lock), None)


def _champion(client: "MlflowClient", name: str, version: str, commit: str) -> str:
    """Move the alias, unless a later commit holds it: a slow release never takes it back to an older model."""
    aliases = client.get_registered_model(name).aliases
    if ALIAS in aliases:
        holder = client.get_model_version(name, aliases[ALIAS])
        if not git.is_ancestor(holder.tags["commit"], commit):
            return f"; {ALIAS} stays version {holder.version}, of a later commit"
    client.set_registered_model_alias(name, ALIAS, version)
    return f", {ALIAS} now"


def run() -> None:
    """Register; a server that is down is a warning where infra.yaml does not require one."""
    release = made.release()
    try:
        say(register(release))
    except TrackingError as error:
        if infra().tracking.required:
            raise
        say(f"warning: {error}; the version goes unregistered", file=sys.stderr)
