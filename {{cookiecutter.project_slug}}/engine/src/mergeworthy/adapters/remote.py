"""The DVC remote, as far as it can be judged before anything is tried: a folder is out of a hosted machine's reach."""

import os

from ..errors import UserError
from .dvc_cli import reach

HOSTED = "github-hosted"  # RUNNER_ENVIRONMENT, on GitHub's own machines
URL = "the DVC remote {url} is a folder, which GitHub's hosted machines cannot reach"
MEND = (
    "give DVC a bucket (`dvc remote modify {name} url s3://…`, credentials in the secret DVC_CONFIG), or let jobs run "
    "on the machine that has the folder (variables CPU_RUNNER and GPU_RUNNER, see infra/runner/README.md)"
)


def folder() -> tuple[str, str] | None:
    """Return name and address of the default remote if that is a folder of some machine; None if it is not."""
    from dvc.config import Config

    config = Config.from_cwd(validate=False)
    name = config["core"].get("remote")
    url = config["remote"].get(name, {}).get("url") if name else None
    if not url or ("://" in url and not url.startswith("file://")):
        return None
    return name, os.path.relpath(url.removeprefix("file://"))


def require_reach(*, planned: bool = False) -> None:
    """Raise `UserError` if this job, on one of GitHub's machines, could never read or write the remote.

    With `planned`, if one of the jobs to come could not: GPU_RUNNER names their machine, and the secret DVC_CONFIG, of
    which DVC_CONFIG_GIVEN tells, may give them another remote than this job sees.
    """
    hosted = os.environ.get("RUNNER_ENVIRONMENT") == HOSTED
    if planned:
        given = os.environ.get("DVC_CONFIG_GIVEN") == "true"
        hosted = not given and (hosted or ("RUNNER_ENVIRONMENT" in os.environ and not os.environ.get("GPU_RUNNER")))
    if hosted and (found := folder()):
        name, url = found
        raise UserError(f"{URL.format(url=url)}: {MEND.format(name=name)}")


def run() -> None:
    """Check it for this job, and that it answers."""
    require_reach()
    reach()
