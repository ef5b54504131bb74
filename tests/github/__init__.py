"""A stand-in of GitHub for tests: it answers for github.com on this machine, and runs workflows under `act`.

    with GitHub(folder) as github:
        flights = github.create("acme/flights")                       # a bare repository over real smart HTTP
        flights.protected["main"] = ("verdict",)                      # branch protection with a required check
        flights.variables["GPU_RUNNER"] = '["self-hosted", "gpu"]'
        alice = github.token("user", "alice", "acme/flights")         # a person; "app" is a GitHub App
        environment = {**os.environ, **github.client_environment(alice)}   # for git, gh, curl, Python, node
        ...                                                           # push to github.url(flights), `gh pr create`
        for event in github.events():                                 # what starts workflows, by GitHub's rule
            for run in run_event(github, event, Machine(runners=[HOSTED, {"self-hosted", "gpu"}])):
                assert run["verdict"].result == "success", run.log
        github.assert_no_unknown()                                    # nobody asked for what the stand-in lacks

How it is reached: clients get `HTTPS_PROXY` and the certificate of a test authority, so `https://github.com` and
`https://api.github.com` end here, and every other host that is contacted is on record (`github.contacted`).

What it keeps of GitHub: tokens with permissions (a job's own, an App's, a person's), which events they start, protected
branches, required checks and signatures, workflow files that a job may not push, nor move a branch across a change of
them, environments that are closed to a branch, forks without secrets and variables, runs that are parked until somebody
approves them, refs/pull/N/merge, 65,536 characters a comment, pages of 30 and 100. What `act` gets wrong is put right
in `staging` and `runner`. Not simulated: concurrency groups, job timeouts, `paths:` filters (refused), the cache
service.
"""

from .act import approve, run_event
from .clone import Clone
from .events import Event
from .machine import HOSTED, Machine
from .process import Running, Watch
from .repository import CheckRun, Comment, Environment, Issue, Organization, PullRequest, Repository
from .results import Job, Run, Step
from .server import GitHub
from .tokens import Token
from .workflows import WorkflowError

__all__ = [
    "HOSTED", "CheckRun", "Clone", "Comment", "Environment", "Event", "GitHub", "Issue", "Job", "Machine",
    "Organization", "PullRequest", "Repository", "Run", "Running", "Step", "Token", "Watch", "WorkflowError", "approve",
    "run_event",
]  # fmt: skip
