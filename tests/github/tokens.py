"""Tokens and what GitHub lets their holders do."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["user", "app", "actions"]
Level = Literal["none", "read", "write"]

# What `permissions: write-all` stands for; the other keys (of settings, and workflows) a job can never have.
JOB_PERMISSIONS = (
    "actions", "attestations", "checks", "contents", "deployments", "id-token", "issues", "packages", "pages",
    "pull-requests", "repository-projects", "security-events", "statuses",
)  # fmt: skip
SETTINGS = ("administration", "environments", "secrets", "variables")
ALL_PERMISSIONS = (*JOB_PERMISSIONS, *SETTINGS, "workflows")
_PREFIX = {"user": "ghp_", "app": "ghs_app", "actions": "ghs_job"}
_RANK = {"none": 0, "read": 1, "write": 2}


@dataclass(frozen=True)
class Token:
    """A credential: a person's ("user"), a GitHub App's ("app") or a job's GITHUB_TOKEN ("actions")."""

    login: str
    kind: Kind
    repositories: frozenset[str]
    permissions: Mapping[str, Level]
    bypass: bool = False
    value: str = field(default="", repr=False)

    def allows(self, repository: str, permission: str, level: Level) -> bool:
        """Whether `permission` is held at `level` on `repository` ("owner/name"). All is public."""
        granted = self.permissions.get(permission, "none") if repository in self.repositories else "none"
        if self.kind == "user" and repository not in self.repositories:
            granted = "write" if permission in ("issues", "pull-requests") else "read"
            if permission in SETTINGS:
                granted = "none"
        return _RANK[granted] >= _RANK[level]


def mint(
    kind: Kind,
    login: str,
    repositories: frozenset[str],
    permissions: Mapping[str, Level] | None = None,
    *,
    bypass: bool = False,
) -> Token:
    """A new token; without `permissions` it may do everything on its `repositories`."""
    granted: Mapping[str, Level] = dict.fromkeys(ALL_PERMISSIONS, "write") if permissions is None else permissions
    return Token(login, kind, repositories, granted, bypass, _PREFIX[kind] + secrets.token_hex(18))
