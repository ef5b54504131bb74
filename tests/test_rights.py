"""Who may do what in a generated repository: secrets, owners, and the machines that each event is given."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.attempts import refused
from tests.bake import git
from tests.github import Clone, Environment, Event, GitHub, Repository, approve, run_event
from tests.github.fixtures import bot
from tests.github.workflows import Workflow, load

SHARED = {"DVC_CONFIG", "MLFLOW_TRACKING_PASSWORD"}  # what a training is given, on whatever branch
RELEASE = {"APP_PRIVATE_KEY", "REGISTRY_PASSWORD", "COSIGN_PRIVATE_KEY", "COSIGN_PASSWORD"}
ON_MAIN = {"schedule", "workflow_dispatch", "workflow_run"}  # on another branch than main an environment refuses them
# The default branch, or what `make release-plan` names, which is one of its commits.
MAIN = {"main", "${{ github.event.repository.default_branch }}", "${{ needs.plan.outputs.head }}"}
HOSTED = ["ubuntu-24.04"]
OWN = {"CPU_RUNNER": ["self-hosted", "cpu"], "GPU_RUNNER": ["self-hosted", "gpu"]}


def workflows(project: Path) -> dict[str, Workflow]:
    """Every workflow of a project, by its file's name."""
    return {path.name: load(path.read_text()) for path in sorted((project / ".github/workflows").iterdir())}


def jobs(project: Path) -> Iterator[tuple[str, Workflow, dict[str, Any]]]:
    """Every job: its name, the workflow that it is in, and itself."""
    for file, workflow in workflows(project).items():
        for name, job in workflow["jobs"].items():
            yield f"{file}: {name}", workflow, job


# -- secrets ----------------------------------------------------------------------------------------------------------


def test_what_releases_is_in_an_environment_and_no_other_job_names_it(fresh: Path) -> None:
    released = set()
    for name, workflow, job in jobs(fresh):
        text = yaml.safe_dump(job)
        named = set(re.findall(r"secrets\.(\w+)", text)) | set(job.get("secrets") or {})
        assert "inherit" not in named, name
        assert not re.search(r"toJSON\(\s*secrets", text), name
        if job.get("environment") != "release":
            assert named <= SHARED, name
            assert "create-github-app-token" not in text, name
            continue
        # then it starts on main alone, and runs main's own code
        released |= named
        assert set(workflow["on"]) <= ON_MAIN, name
        checkouts = [step["with"] for step in job["steps"] if "actions/checkout" in step.get("uses", "")]
        assert {checkout.get("ref") for checkout in checkouts} <= MAIN, name
    assert released >= RELEASE


def test_the_code_of_a_pull_request_can_sign_and_publish_nothing(fresh: Path) -> None:
    """Workflows that a pull request starts, and those that they call, hold no right beyond the repository itself."""
    files = workflows(fresh)
    started = {file for file, workflow in files.items() if "pull_request" in workflow["on"]}
    called = {Path(job["uses"]).name for file in started for job in files[file]["jobs"].values() if "uses" in job}
    assert started | called >= {"ci.yaml", "train.yaml"}
    for file in started | called:
        for job in files[file]["jobs"].values():
            rights = set(job["permissions"].items())
            assert not {right for right, _ in rights} & {"id-token", "packages", "attestations", "deployments"}, file
            assert "environment" not in job, file


# -- owners -----------------------------------------------------------------------------------------------------------


def owners(project: Path, path: str) -> list[str]:
    """Who owns a path by .github/CODEOWNERS: the last line that fits it counts, and may name nobody."""
    found: list[str] = []
    for line in (project / ".github/CODEOWNERS").read_text().splitlines():
        pattern, *named = line.split("#")[0].split() or [""]
        assert pattern in ("", "*") or re.fullmatch(r"/[\w./-]+", pattern), f"this test cannot read {pattern}"
        folder = pattern.endswith("/") and f"/{path}".startswith(pattern)
        if pattern and (pattern == "*" or folder or pattern == f"/{path}"):
            found = named
    return found


def test_everything_is_owned_but_what_a_data_scientist_edits(fresh: Path, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    git(tmp_path, f"--work-tree={fresh}", "add", "-A")
    known = git(tmp_path, "ls-files").splitlines()
    free = re.compile(r"(src/ml|tests)/|(params|sweep)\.yaml$|dvc\.lock$")
    judges = {"src/ml/__init__.py", "src/ml/features.py", "src/ml/schema.py"}
    assert judges <= set(known)
    for path in [*known, "dvc.lock", "sitecustomize.py", "deploy/cosign.pub", "engine/src/mergeworthy/new.py"]:
        expected = ["@octo-org"] if path in judges or not free.match(path) else []
        assert owners(fresh, path) == expected, path


@pytest.mark.attempts("change that fools the gate")
@pytest.mark.parametrize(
    ("file", "pattern", "becomes"),
    [
        ("dvc.yaml", r"\n +- src/ml\S*", ""),  # a stage that no longer depends on code
        ("Makefile", r"(mergeworthy gate[^\n]*)", r"\1 || true"),
        ("gates.yaml", r"min: \S+", "min: 0,"),
        ("src/ml/features.py", r'pl\.col\("arr_delay"\) >', 'pl.col("arr_delay") <'),  # another label
        ("engine/src/mergeworthy/holdout.py", r"def ", "def other_"),
        ("engine/src/mergeworthy/stages.yaml", r"evaluate: \d+", "evaluate: 0"),
        ("pyproject.toml", r"\[tool\.importlinter\]", "[tool.nothing]"),
        ("pyproject.toml", r"ml:project", "ml.model:project"),
        (".github/CODEOWNERS", r"\* @octo-org", "* @mallory"),
    ],
)
def test_a_change_that_fools_the_gate_needs_an_owner(fresh: Path, file: str, pattern: str, becomes: str) -> None:
    # given a change that takes something away from what judges
    text = (fresh / file).read_text()
    assert re.sub(pattern, becomes, text, count=1) != text
    # then an owner must approve it
    assert owners(fresh, file) == ["@octo-org"]
    refused("until @octo-org approves", f"{file}: {pattern}")


# -- machines and concurrency -----------------------------------------------------------------------------------------


def probe(project: Path) -> tuple[list[str], str]:
    """A workflow in which act evaluates the concurrency of ci.yaml and each `runs-on` of it and train.yaml."""
    files = workflows(project)
    expressions = {
        f"{file}: {name}": (job["runs-on"], next(variable for variable in OWN if variable in job["runs-on"]))
        for file in ("ci.yaml", "train.yaml")
        for name, job in files[file]["jobs"].items()
        if "runs-on" in job
    }
    concurrency = files["ci.yaml"]["concurrency"]
    values = [re.sub(r"^\$\{\{(.*)\}\}$", r"${{ toJSON(\1) }}", runs_on) for runs_on, _ in expressions.values()]
    values += [concurrency["group"], concurrency["cancel-in-progress"]]
    environment = {f"E{number}": value for number, value in enumerate(values)}
    script = "\n".join(f"echo \"told: $(printf '%s' \"${name}\" | tr -d '\\n ')\"" for name in environment)
    job = {"runs-on": "ubuntu-24.04", "steps": [{"run": script, "env": environment}]}
    text = yaml.safe_dump({"name": "probe", "on": {"push": None, "pull_request": None}, "jobs": {"probe": job}})
    return [variable for _, variable in expressions.values()], text


def test_forks_get_hosted_machines_and_no_run_cancels_another_that_is_needed(
    github: GitHub, flights: Repository, alice: Clone, fresh: Path, tmp_path: Path
) -> None:
    variables, text = probe(fresh)
    assert len(variables) >= 5
    flights.variables |= {name: json.dumps(labels) for name, labels in OWN.items()}
    flights.forks_get_secrets_and_variables = True  # the worst setting that there is

    def told(event: Event) -> tuple[list[list[str]], str, str]:
        """The labels of each job, the concurrency group, and whether it cancels."""
        (run,) = run_event(github, event)
        said = re.findall(r"^told: (.*)$", run["probe"].log, re.MULTILINE)
        return [json.loads(labels) for labels in said[:-2]], said[-2], said[-1]

    def happened() -> Event:
        """What a push or a pull request started last."""
        return github.events()[-1]

    ours = [OWN[variable] for variable in variables]
    files = {".github/workflows/ci.yaml": None, ".github/workflows/train.yaml": None}
    for name in files:
        alice.git("rm", "-q", name)
    alice.commit("Only the probe", {".github/workflows/probe.yaml": text})
    alice.push("main")
    first = told(happened())
    # given a second push to main / then it runs beside the first one, and none is cancelled
    alice.commit("Quick", {"a": "1"})
    alice.push("main")
    second = told(happened())
    assert (first[0], first[2], second[0], second[2]) == (ours, "false", ours, "false")
    assert first[1] != second[1]
    # given a pull request and a newer push to it / then the newer run cancels the older one
    alice.open_pull("better", {"b": "1"})
    opened = told(happened())
    alice.commit("Better", {"b": "2"})
    alice.push("better")
    again = told(happened())
    assert (opened[0], opened[2]) == (ours, "true")
    assert again[1] == opened[1]
    # given the lock that the job pushes / then the run which that parks cancels nothing, not even when it is approved
    job = Clone(github, flights, bot(github, flights, contents="write"), tmp_path / "job")
    job.git("switch", "-q", "better")
    job.commit("Lock", {"dvc.lock": "1"})
    job.push("better")
    parked = happened()
    assert parked.state == "waiting"
    assert told(approve(parked))[1] not in (again[1], second[1])
    # given a fork, which is handed the variables / then all its jobs are given GitHub's machines
    fork = github.create("mallory/flights", parent=flights.full_name)
    mallory = Clone(github, fork, github.token("user", "mallory", fork.full_name), tmp_path / "mallory")
    mallory.git("switch", "-q", "-c", "gift")
    mallory.commit("A gift", {"c": "1"})
    mallory.push("gift")
    (tmp_path / "pull.json").write_text(json.dumps({"title": "A gift", "head": "mallory:gift", "base": "main"}))
    mallory.run("gh", "api", "repos/acme/flights/pulls", "--input", str(tmp_path / "pull.json"))
    labels, _, _ = told(approve(happened()))
    assert labels == [HOSTED] * len(variables)


def test_an_environment_is_closed_to_other_branches(github: GitHub, flights: Repository, alice: Clone) -> None:
    """The stand-in holds jobs to what GitHub does: a branch that names the environment gets none of its secrets."""
    # given a workflow of a branch's own that asks for what releases
    flights.environments["release"] = Environment({"APP_PRIVATE_KEY": "the key"}, branches=("main",))
    greedy = {
        "name": "greedy", "on": {"push": None},
        "jobs": {"take": {
            "runs-on": "ubuntu-24.04", "environment": "release",
            "steps": [{"run": 'echo "${#KEY} characters"', "env": {"KEY": "${{ secrets.APP_PRIVATE_KEY }}"}}],
        }},
    }  # fmt: skip
    github.events()
    for branch, told in (("greedy", "not allowed to deploy to release"), ("main", "7 characters")):
        alice.git("rm", "-q", "--ignore-unmatch", "-r", ".github")
        alice.commit(branch, {".github/workflows/greedy.yaml": yaml.safe_dump(greedy), "branch": branch})
        alice.push(branch)
        (run,) = run_event(github, github.events()[-1])
        assert run.conclusion == ("success" if branch == "main" else "failure")
        assert told in run["take"].log


def test_dependabot_reads_a_store_of_its_own(github: GitHub, flights: Repository, alice: Clone, tmp_path: Path) -> None:
    # given a secret of the repository, and another one of the same name in Dependabot's store
    flights.secrets["DVC_CONFIG"], flights.dependabot_secrets["DVC_CONFIG"] = "the repository's", "Dependabot's"
    step = {"run": 'echo "${#KEY} characters"', "env": {"KEY": "${{ secrets.DVC_CONFIG }}"}}
    workflow = {"name": "look", "on": {"push": None}, "jobs": {"look": {"runs-on": "ubuntu-24.04", "steps": [step]}}}
    alice.git("rm", "-q", "-r", ".github")
    alice.commit("Look", {".github/workflows/look.yaml": yaml.safe_dump(workflow)})
    alice.push("main")
    dependabot = github.token("app", "dependabot[bot]", flights.full_name)
    clone = Clone(github, flights, dependabot, tmp_path / "dependabot")
    clone.commit("Update", {"pyproject.toml": ""})
    clone.push("dependabot/pip/torch")
    # then each run reads the store of whoever pushed
    for event, told in zip(github.events()[-2:], ("16 characters", "12 characters"), strict=True):
        (run,) = run_event(github, event)
        assert told in run["look"].log
