"""A release outside git: the image in its registry, its signature, the model in MLflow, and the model card.

The registry is asked over HTTP (OCI distribution), so this works with every container engine. A tag that the registry
has is never replaced. cosign can sign the image with the team's own key, if GitHub's attestations are not available:
the signature is stored in the registry, and needs neither an account nor a public log. MLflow's registry mirrors the
release: a version per training, the alias `champion`, and tags with the commit. The model card has the sections of
Mitchell et al., Model Cards for Model Reporting, FAT* 2019, without those that would be empty.

A release is named in git by the overlays in deploy/: the file `deploy/overlays/<environment>/model/kustomization.yaml`
says which one runs in an environment, and only commands write this file.
"""

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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from pydantic import TypeAdapter, ValidationError

from .. import files
from ..adapters import actions, dvc, git
from ..adapters.dvc import lineage
from ..adapters.mlflow import TrackingError, reach
from ..config import infra
from ..errors import UserError
from ..files import DATA_DVC, LOCK, MODELS, md5
from ..process import Deadline, call, proxy, within
from ..text import code, figure, prose, say, table
from ..verdict import Verdict
from .image import call_engine, engine, image_commit, tag

if TYPE_CHECKING:
    from mlflow import MlflowClient

ENVIRONMENTS = ("staging", "production")
VERBS = {"staging": "stage", "production": "promote"}
HEADER = "# Which model runs here. Written by `make {verb}`, never by hand; `git revert` brings the former one back."
NO_RELEASE = {"model/commit": "none"}  # annotations of the file as it is generated
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
GITHUB_REGISTRY = "ghcr.io"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
NOT_FOUND, UNAUTHORIZED = 404, 401
PUBLIC_KEY = Path("deploy/cosign.pub")
PRIVATE_KEY = "COSIGN_PRIVATE_KEY"
KEY_PAIR = (
    f"`cosign generate-key-pair` makes both: the public one is {PUBLIC_KEY}, the other one the secret {PRIVATE_KEY}"
)
ALIAS = "champion"
PYPROJECT = Path("pyproject.toml")
CARD = MODELS / "card.md"
SLICES_SHOWN = 10


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


RELEASE_JSON = TypeAdapter(Release)


def overlay_file(environment: str) -> Path:
    """Return the file that names the release of an environment."""
    return Path(f"deploy/overlays/{environment}/model/kustomization.yaml")


def overlay_text(release: Release, environment: str) -> str:
    """Return a release as kustomize reads it; the same release gives the same text."""
    facts = {f"model/{name}": value for name, value in asdict(release).items() if name not in ("repository", "digest")}
    component = {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "images": [{"name": "model", "newName": release.repository, "digest": release.digest}],
        "commonAnnotations": facts,
    }
    return HEADER.format(verb=VERBS[environment]) + "\n" + files.dump_yaml(component)


def read_overlay(content: str | None, name: str) -> Release | None:
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


# The image in its registry.


def login(host: str) -> tuple[str, str] | None:
    """Return REGISTRY_USER and REGISTRY_PASSWORD; None if there is no password, as the engine is then logged in.

    GitHub's own registry accepts the job's token too, and no other registry is sent that.
    """
    password = os.environ.get("REGISTRY_PASSWORD") or (os.environ.get("GH_TOKEN") if host == GITHUB_REGISTRY else None)
    return (os.environ.get("REGISTRY_USER") or "token", password) if password else None


def log_in(program: str, host: str) -> None:
    """Log a container engine, or another program with its options, in to the registry if a password is known."""
    credentials = login(host)
    if credentials is None:
        return
    user, password = credentials
    command = [program, "login", "--username", user, "--password-stdin", host]
    done = call(command, f"the registry {host}", Deadline.ANSWER, text=password)
    if done.returncode:
        raise UserError(f"{program} cannot log in to {host}: see REGISTRY_USER and REGISTRY_PASSWORD")


def remote_digest(image: str) -> str | None:
    """Return the digest of `repository:tag` in its registry; None if the registry has no such tag."""
    host, _, rest = image.partition("/")
    name, _, tag = rest.rpartition(":")
    scheme = "http" if host.partition(":")[0] in ("127.0.0.1", "localhost") else "https"  # as every engine does
    url = f"{scheme}://{host}/v2/{name}/manifests/{tag}"
    try:
        return _head(url, {})
    except urllib.error.HTTPError as error:
        if error.code == NOT_FOUND:
            return None
        if error.code != UNAUTHORIZED:
            raise UserError(f"the registry refused {image}: HTTP {error.code}") from None
        challenge = error.headers.get("WWW-Authenticate", "")
    except (OSError, http.client.HTTPException) as error:
        raise _no_answer(host, url, error) from None
    try:
        return _head(url, {"Authorization": _authorization(challenge, login(host))})
    except urllib.error.HTTPError as error:
        if error.code == NOT_FOUND:
            return None
        raise UserError(f"the registry refused {image}: HTTP {error.code}, see REGISTRY_PASSWORD") from None
    except (OSError, http.client.HTTPException) as error:
        raise _no_answer(host, url, error) from None


def _no_answer(host: str, url: str, error: Exception) -> UserError:
    problem = f"the registry {host} does not answer ({error}){proxy(url)}"
    return UserError(f"{problem}: see image.repository in infra.yaml")


def _head(url: str, headers: dict[str, str]) -> str | None:
    accept = {"Accept": ", ".join(MANIFEST_TYPES), **headers}
    request = urllib.request.Request(url, method="HEAD", headers=accept)  # noqa: S310 (http or https, made above)

    def ask() -> str | None:
        with urllib.request.urlopen(request, timeout=Deadline.ANSWER.seconds) as answer:  # noqa: S310 (as above)
            header: str | None = answer.headers.get("Docker-Content-Digest")
        return header

    digest = within(Deadline.ANSWER, f"the registry {request.host}", ask)
    if digest and not DIGEST.fullmatch(digest):
        raise UserError(f"the registry {request.host} answers {digest[:80]!r}: a digest sha256:… is expected")
    return digest


def _authorization(challenge: str, credentials: tuple[str, str] | None) -> str:
    """Return the header that answers a registry's challenge: the password, or a token that is requested with it."""
    basic = "Basic " + base64.b64encode(":".join(credentials).encode()).decode() if credentials else ""
    parameters = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    if not challenge.startswith("Bearer") or "realm" not in parameters:
        return basic
    realm = parameters["realm"]
    if not realm.startswith(("https://", "http://")):
        raise UserError(f"the registry names {realm} for its tokens: https://… is expected, see image.repository")
    query = urlencode({key: parameters[key] for key in ("service", "scope") if key in parameters})
    request = urllib.request.Request(f"{realm}?{query}", headers={"Authorization": basic} if basic else {})  # noqa: S310

    def ask() -> bytes:
        with urllib.request.urlopen(request, timeout=Deadline.ANSWER.seconds) as answer:  # noqa: S310 (the registry's own address)
            body: bytes = answer.read()
        return body

    try:
        document = json.loads(within(Deadline.ANSWER, f"the registry's tokens at {realm}", ask))
        return f"Bearer {document.get('token') or document['access_token']}"
    except (ValueError, KeyError, AttributeError, TypeError):
        raise UserError(f"{realm} gives no token for the registry: see image.repository in infra.yaml") from None


def load_release() -> Release:
    """Return the release that is being made: the image in the registry, with the model on disk that is in it.

    RELEASE, which another job handed over, overrides that. Raise `UserError` if the image was not published, or if the
    gate did not pass this model.
    """
    if text := os.environ.get("RELEASE"):
        try:
            return RELEASE_JSON.validate_json(text)
        except ValidationError:
            raise UserError(
                f"RELEASE is {text[:80]!r}, and not what `make publish` hands over: unset it to release what is here"
            ) from None
    from ..tracking import verdict  # with polars, as `card`

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
        commit=image_commit() or "",
        lock=lock,
        data=dvc.data(dvc.read(LOCK), str(LOCK)),
        partition=max(dvc.partitions(dvc.read(DATA_DVC)), default="unknown"),
        verdict=outcome,
    )


def publish() -> str:
    """Push the image unless the registry has its tag; return its digest there."""
    image = tag()
    if digest := remote_digest(image):
        return digest
    program = engine()
    log_in(program, image.partition("/")[0])
    call_engine(program, "push", image, deadline=Deadline.TRANSFER)
    digest = remote_digest(image)
    if digest is None:
        raise UserError(f"{image} was pushed, and the registry does not know it: run the step again")
    return digest


def run_publish() -> None:
    """Publish the image, print repository and digest, and hand the release to the workflow."""
    publish()
    release = load_release()
    say(f"{release.repository}@{release.digest}")
    actions.outputs(
        release=json.dumps(asdict(release)),
        repository=release.repository,
        digest=release.digest,
        sign=str(PUBLIC_KEY.exists()).lower(),
    )


# The image's signature.


def sign(release: Release) -> str:
    """Sign the digest, unless this key signed it already; return the result in a sentence."""
    if not PUBLIC_KEY.exists():
        return f"no key of yours signs the image: {PUBLIC_KEY} is missing"
    if shutil.which("cosign") is None:
        raise UserError(f"{PUBLIC_KEY} asks for a signature, and cosign is not installed")
    log_in("cosign", release.repository.partition("/")[0])
    image = f"{release.repository}@{release.digest}"
    if _signature_error(image, release) is None:
        return f"{image} is signed already"
    if not os.environ.get(PRIVATE_KEY):
        raise UserError(f"{PUBLIC_KEY} asks for a signature, and {PRIVATE_KEY} is empty: {KEY_PAIR}")
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "signing.json")  # names no public service
        config.write_text(call_engine("cosign", "signing-config", "create"))
        key = ["--key", f"env://{PRIVATE_KEY}", "--signing-config", str(config)]
        call_engine("cosign", "sign", "--yes", *key, *_annotations(release), image)
    if reason := _signature_error(image, release):
        raise UserError(f"the signature is not one of {PUBLIC_KEY} ({reason}): {KEY_PAIR}")
    return f"{image} is signed"


def _annotations(release: Release) -> list[str]:
    facts = {"commit": release.commit, "lock": release.lock, "data": release.data}
    return [word for key, value in facts.items() for word in ("--annotations", f"{key}={value}")]


def _signature_error(image: str, release: Release) -> str | None:
    """Return why the image has no valid signature of this checkout's key; None if it has one."""
    key = ["--key", str(PUBLIC_KEY), "--insecure-ignore-tlog"]
    try:
        call_engine("cosign", "verify", *key, *_annotations(release), image)
    except UserError as error:
        return str(error)
    return None


def run_sign() -> None:
    """Sign what was published."""
    say(sign(load_release()))


# The model in MLflow's registry.


def register(release: Release) -> str:
    """Register the model of the release, once; return in a sentence which version it is."""
    tracking = infra().tracking
    reach(tracking.address, tracking.experiment)
    from mlflow import register_model, set_experiment

    from ..adapters.mlflow import answered, connected
    from ..tracking import finished_run, mirror

    mirror(tracking.address, tracking.experiment)
    name = tracking.experiment
    with connected(tracking.address) as client:
        version = _version(client, name, release.lock)
        if version is None:
            experiment = answered(tracking.address, lambda: set_experiment(name)).experiment_id
            run = finished_run(client, experiment, release.lock)
            if run is None or run.outputs is None:
                raise TrackingError(f"MLflow has no finished run of {release.lock[:12]}: run `make track`")
            (output,) = run.outputs.model_outputs
            # With the tag at once: after a kill here, the next try finds the version by it.
            model, tags = f"models:/{output.model_id}", {"lock": release.lock}
            version = answered(tracking.address, lambda: register_model(model, name, tags=tags)).version
            client.update_model_version(name, version, description=card())
        registered_commit = client.get_model_version(name, version).tags.get("commit")
        if registered_commit and not git.is_ancestor(registered_commit, release.commit):
            return f"MLflow has version {version} of {name}, released from a later commit: left as it is"
        for key, value in {**lineage(), "commit": release.commit, "digest": release.digest}.items():
            client.set_model_version_tag(name, version, key, value)
        return f"MLflow has version {version} of {name}{_champion(client, name, version, release.commit)}"


def _version(client: "MlflowClient", name: str, lock: str) -> str | None:
    versions = client.search_model_versions(f"name = '{name}'")
    return next((str(each.version) for each in versions if each.tags.get("lock") == lock), None)


def _champion(client: "MlflowClient", name: str, version: str, commit: str) -> str:
    """Move the alias, unless a later commit has it: a slow release never moves it back to an older model."""
    aliases = client.get_registered_model(name).aliases
    if ALIAS in aliases:
        holder = client.get_model_version(name, aliases[ALIAS])
        if not git.is_ancestor(holder.tags["commit"], commit):
            return f"; {ALIAS} stays version {holder.version}, of a later commit"
    client.set_registered_model_alias(name, ALIAS, version)
    return f", {ALIAS} now"


def run_register() -> None:
    """Register the model; if infra.yaml does not require a server, only warn if it is down."""
    release = load_release()
    try:
        say(register(release))
    except TrackingError as error:
        if infra().tracking.required:
            raise
        say(f"warning: {error}; the version goes unregistered", file=sys.stderr)


# The model card.


def card() -> str:
    """Write `models/card.md` and return its text."""
    from ..report.changes import read_metrics, read_verdict  # with polars, which the plan and staging do without

    project = files.read_toml(PYPROJECT).get("project")
    if not isinstance(project, dict) or not isinstance(project.get("name"), str):
        raise UserError(f"{PYPROJECT}: project.name is missing: restore it from git")
    metrics, verdict = read_metrics(), read_verdict()
    sections = {
        "Purpose": prose(str(project.get("description", ""))),
        "How good it is": _metrics(metrics),
        "Where it differs": _slices(verdict),
        "What the gate said": _checks(verdict),
        "Data": _data(metrics),
        "Made from": table(["", ""], [[name, code(value)] for name, value in lineage().items()]),
        "Parameters": table(["", ""], [[code(k), code(v)] for k, v in dvc.params(dvc.read(LOCK)).items()]),
    }
    parts = [f"# {prose(project['name'])}", *(f"## {title}\n\n{text}" for title, text in sections.items() if text)]
    content = "\n\n".join(parts) + "\n"
    CARD.write_text(content)
    return content


def _metrics(metrics: dict[str, Any]) -> str:
    rows = [[name, figure(value), figure(metrics["baseline"].get(name))] for name, value in metrics["model"].items()]
    intro = f"On {metrics['rows']:,} labelled rows of the holdout {code(metrics['partition'])}, never trained on."
    return f"{intro}\n\n{table(['Metric', 'Model:', 'A constant guess:'], rows)}"


def _slices(verdict: Verdict) -> str:
    slices = [each for each in verdict.comparisons if each.column]
    rows = [
        [f"{code(each.column)} = {code(each.value)}", f"{each.rows:,}", figure(each.challenger), figure(each.champion)]
        for each in sorted(slices, key=lambda each: -each.worse_by)[:SLICES_SHOWN]
    ]
    return table(["Slice", "Rows:", "This model:", "The one before:"], rows) if rows else ""


def _checks(verdict: Verdict) -> str:
    rows = [[prose(check.name), check.result, prose(check.why)] for check in verdict.checks]
    return table(["Check", "Result", "Why"], rows)


def _data(metrics: dict[str, Any]) -> str:
    rows = dvc.partitions(dvc.read(DATA_DVC))
    trained = [name for name in sorted(rows) if name < metrics["partition"]]
    window = f"{code(trained[0])} to {code(trained[-1])}" if trained else "none"
    return f"Trained on {window}, {sum(rows[name] for name in trained):,} rows; data.dvc names every partition."


def run_card() -> None:
    """Write the card, and print where it is."""
    card()
    say(f"wrote {CARD}")
