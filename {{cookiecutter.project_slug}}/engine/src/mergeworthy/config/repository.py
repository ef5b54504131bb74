""".github/settings.yaml: what the repository is on GitHub."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .base import Count, Strict, load

REPOSITORY = Path(".github/settings.yaml")
DEFAULT_BRANCH = "~DEFAULT_BRANCH"  # GitHub's own word for the default branch, whatever its name

# GitHub's rules for names of variables and secrets.
Name = Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]*$")]
Colour = Annotated[str, Field(pattern=r"^[0-9a-f]{6}$")]


class MainBranch(Strict):
    """The ruleset of the default branch; `bypass_apps` are ids of GitHub Apps that may push past it."""

    required_check: Annotated[str, Field(min_length=1)] = "verdict"
    freshness: Literal["up_to_date", "merge_queue"] = "up_to_date"
    approvals: Annotated[int, Field(ge=0, le=10)] = 1
    code_owner_review: bool = True
    bypass_apps: list[Count] = Field(default_factory=list)


class Actions(Strict):
    """What every workflow may do, and whose pull requests start one."""

    default_permissions: Literal["read", "write"] = "read"
    may_open_pull_requests: bool = True
    public_forks: Literal[
        "all_external_contributors", "first_time_contributors", "first_time_contributors_new_to_github"
    ] = "all_external_contributors"
    private_forks: Literal["off", "approval"] = "off"


class Secrets(Strict):
    """Names of secrets: those that must be set, and those that some settings need; never a value."""

    secrets: list[Name] = Field(default_factory=list)
    optional_secrets: list[Name] = Field(default_factory=list)


class Environment(Secrets):
    """An environment of Actions, the branches whose jobs may use it, and the secrets that nobody else may read."""

    branches: Annotated[list[str], Field(min_length=1)] = Field(default_factory=lambda: [DEFAULT_BRANCH])


class Label(Strict):
    """A label of issues and pull requests."""

    color: Colour
    description: Annotated[str, Field(max_length=100)] = ""


class Security(Strict):
    """GitHub's own checks; what costs extra or does not exist in a private repository can be left to public ones."""

    scan_for_secrets: bool | Literal["if_public"] = "if_public"
    private_vulnerability_reporting: Literal[False, "if_public"] = "if_public"
    dependabot_alerts: bool = True


class Repository(Secrets):
    """The whole of .github/settings.yaml; a variable is a text, or a list, which is stored as JSON."""

    default_branch: MainBranch = MainBranch()
    actions: Actions = Actions()
    environments: dict[str, Environment] = Field(default_factory=dict)
    labels: dict[Annotated[str, Field(min_length=1, max_length=50)], Label] = Field(default_factory=dict)
    variables: dict[Name, str | list[str]] = Field(default_factory=dict)
    security: Security = Security()

    @model_validator(mode="after")
    def _check_places(self) -> Self:
        for name, value in self.variables.items():
            if name.endswith("_RUNNER") and not (isinstance(value, list) and value and all(map(str.strip, value))):
                raise ValueError(f"variables.{name} must be a list of labels, such as [self-hosted, linux, x64, gpu]")
        both = {*self.secrets, *self.optional_secrets} & self.restricted
        if exposed := sorted(both - {"MLFLOW_TRACKING_PASSWORD"}):
            raise ValueError(f"{exposed[0]} is a secret of an environment, so it must not be one of the repository too")
        return self

    @property
    def restricted(self) -> set[str]:
        """Return the names of secrets that belong to an environment."""
        every = self.environments.values()
        return {name for environment in every for name in (*environment.secrets, *environment.optional_secrets)}


def repository() -> Repository:
    """Return the settings of .github/settings.yaml."""
    return load(REPOSITORY, Repository)
