"""A release outside git: the image in its registry, its signature, the model in MLflow, and its card."""

import base64
import http.client
import json
import os
import re
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pydantic import TypeAdapter, ValidationError

from .. import files
from ..adapters import actions, dvc_files, git
from ..adapters.git import lineage
from ..adapters.mlflow import TrackingError, reach
from ..config import infra
from ..container import build
from ..container.build import call_engine, engine, tag
from ..errors import UserError
from ..files import md5
from ..paths import DATA_DVC, LOCK, MODELS
from ..process import Deadline, call, proxy, within
from ..render import figure, table
from ..report.facts import read_metrics, read_verdict
from ..text import code, prose, say
from ..tracking_runs import verdict
from ..verdict import Verdict
from .overlay import Release

# DOC release.registry: What a container registry has under a tag: asked by HTTP (OCI distribution), so that any
# engine will do.

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


def remote_digest(image: str) -> str | None:
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


# DOC release.made: The release that is being made: the image in the registry, and the model on disk that is in it.

HANDED = TypeAdapter(Release)


def load_release() -> Release:
    """Read it, or take it from RELEASE, which another job handed over.

    Raise `UserError` where the image was not published, or nothing judged this model.
    """
    if handed := os.environ.get("RELEASE"):
        try:
            return HANDED.validate_json(handed)
        except ValidationError:
            raise UserError(
                f"RELEASE is {handed[:80]!r}, and not what `make publish` hands over: unset it to release what is here"
            ) from None
    image, lock = tag(), md5(LOCK)
    digest, outcome = remote_digest(image), verdict(lock)
    if digest is None:
        raise UserError(f"{image} is not in the registry: run `make publish` first")
    if outcome is None:
        raise UserError("reports/verdict.json is not about this model: run `make gate` first")
    if outcome == "block":
        raise UserError("the gate blocks this model, so it is not released: reports/verdict.md says why")
    return Release(
        repository=image.rpartition(":")[0],
        digest=digest,
        commit=build.image_commit() or "",
        lock=lock,
        data=dvc_files.data(dvc_files.read(LOCK), str(LOCK)),
        partition=max(dvc_files.partitions(dvc_files.read(DATA_DVC)), default="unknown"),
        verdict=outcome,
    )


# DOC release.publish: Push the image, once: what a tag names in the registry is never replaced.


def publish() -> str:
    """Give the digest of this image in the registry, which has it afterwards."""
    image = tag()
    if found := remote_digest(image):
        return found
    program = engine()
    log_in(program, image.partition("/")[0])
    call_engine(program, "push", image, deadline=Deadline.TRANSFER)
    found = remote_digest(image)
    if found is None:
        raise UserError(f"{image} was pushed, and the registry does not know it: run the step again")
    return found


def run_publish() -> None:
    """Print repository and digest, and hand the release to the workflow where there is one."""
    publish()
    made = load_release()
    say(f"{made.repository}@{made.digest}")
    key = str(PUBLIC.exists()).lower()
    actions.outputs(release=json.dumps(asdict(made)), repository=made.repository, digest=made.digest, sign=key)


# DOC release.sign: Sign the image with a key of the team's own, for registries and plans where GitHub's attestations
# are not to be had. cosign signs what the registry has under the digest, and the signature says what it was made of.
# It lies beside the image in the registry, and needs neither an account nor a public log.

PUBLIC = Path("deploy/cosign.pub")
KEY = "COSIGN_PRIVATE_KEY"
PAIR = f"`cosign generate-key-pair` makes both: the public one is {PUBLIC}, the other one the secret {KEY}"


def sign(made: Release) -> str:
    """Sign the digest, unless this key signed it already, and say in a sentence what came of it."""
    if not PUBLIC.exists():
        return f"no key of yours signs the image: {PUBLIC} is missing"
    if shutil.which("cosign") is None:
        raise UserError(f"{PUBLIC} asks for a signature, and cosign is not installed")
    log_in("cosign", made.repository.partition("/")[0])
    image = f"{made.repository}@{made.digest}"
    if _is_signed(image, made) is None:
        return f"{image} is signed already"
    if not os.environ.get(KEY):
        raise UserError(f"{PUBLIC} asks for a signature, and {KEY} is empty: {PAIR}")
    with tempfile.TemporaryDirectory() as folder:
        nowhere = Path(folder, "signing.json")  # no service is told
        nowhere.write_text(call_engine("cosign", "signing-config", "create"))
        key = ["--key", f"env://{KEY}", "--signing-config", str(nowhere)]
        call_engine("cosign", "sign", "--yes", *key, *_made_of(made), image)
    if why := _is_signed(image, made):
        raise UserError(f"the signature is not one of {PUBLIC} ({why}): {PAIR}")
    return f"{image} is signed"


def _made_of(made: Release) -> list[str]:
    facts = {"commit": made.commit, "lock": made.lock, "data": made.data}
    return [word for key, value in facts.items() for word in ("--annotations", f"{key}={value}")]


def _is_signed(image: str, made: Release) -> str | None:
    """Why the key of this checkout does not vouch for the image; None where it does."""
    try:
        call_engine("cosign", "verify", "--key", str(PUBLIC), "--insecure-ignore-tlog", *_made_of(made), image)
    except UserError as error:
        return str(error)
    return None


def run_sign() -> None:
    """Sign what was published."""
    say(sign(load_release()))


# DOC release.register: MLflow's registry mirrors the release: a version per training, the alias `champion`, and tags
# that lead to git.

if TYPE_CHECKING:
    from mlflow import MlflowClient

ALIAS = "champion"


def register(release: Release) -> str:
    """Register what was published, once, and say in a sentence which version it is."""
    tracking = infra().tracking
    reach(tracking.address, tracking.experiment)
    from mlflow import register_model, set_experiment

    from ..adapters.mlflow import answered, connected
    from ..tracking_runs import finished, mirror

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


def run_register() -> None:
    """Register; a server that is down is a warning where infra.yaml does not require one."""
    release = load_release()
    try:
        say(register(release))
    except TrackingError as error:
        if infra().tracking.required:
            raise
        say(f"warning: {error}; the version goes unregistered", file=sys.stderr)


# DOC release.card: The model card: what the model is for, how good it is and where it is not, on which data, and who
# may judge that. Its form is that of Mitchell et al., Model Cards for Model Reporting, FAT* 2019; no section stands
# empty.

PYPROJECT = Path("pyproject.toml")
CARD = MODELS / "card.md"


def card() -> str:
    """Write `models/card.md` and give its text."""
    project = files.read_toml(PYPROJECT).get("project")
    if not isinstance(project, dict) or not isinstance(project.get("name"), str):
        raise UserError(f"{PYPROJECT}: project.name is missing: restore it from git")
    measured = read_metrics()
    verdict = read_verdict()
    sections = {
        "Purpose": prose(str(project.get("description", ""))),
        "How good it is": _metrics(measured),
        "Where it differs": _slices(verdict),
        "What the gate said": _checks(verdict),
        "Data": _data(measured),
        "Made from": table(["", ""], [[name, code(value)] for name, value in lineage().items()]),
        "Parameters": table(["", ""], [[code(k), code(v)] for k, v in dvc_files.params(dvc_files.read(LOCK)).items()]),
    }
    parts = [f"# {prose(project['name'])}", *(f"## {title}\n\n{text}" for title, text in sections.items() if text)]
    whole = "\n\n".join(parts) + "\n"
    CARD.write_text(whole)
    return whole


def _metrics(measured: dict[str, Any]) -> str:
    rows = [[name, figure(value), figure(measured["baseline"].get(name))] for name, value in measured["model"].items()]
    said = f"On {measured['rows']:,} labelled rows of the holdout {code(measured['partition'])}, never trained on."
    return f"{said}\n\n{table(['Metric', 'Model:', 'A constant guess:'], rows)}"


def _slices(verdict: Verdict) -> str:
    worst = sorted((one for one in verdict.comparisons if one.column), key=lambda one: -one.worse_by)[:10]
    rows = [
        [f"{code(one.column)} = {code(one.value)}", f"{one.rows:,}", figure(one.challenger), figure(one.champion)]
        for one in worst
    ]
    return table(["Slice", "Rows:", "This model:", "The one before:"], rows) if rows else ""


def _checks(verdict: Verdict) -> str:
    return table(["Check", "Result", "Why"], [[prose(one.name), one.result, prose(one.why)] for one in verdict.checks])


def _data(measured: dict[str, Any]) -> str:
    rows = dvc_files.partitions(dvc_files.read(DATA_DVC))
    trained = [name for name in sorted(rows) if name < measured["partition"]]
    window = f"{code(trained[0])} to {code(trained[-1])}" if trained else "none"
    return f"Trained on {window}, {sum(rows[name] for name in trained):,} rows; data.dvc names every partition."


def run_card() -> None:
    """Write the card, and say where."""
    card()
    say(f"wrote {CARD}")
