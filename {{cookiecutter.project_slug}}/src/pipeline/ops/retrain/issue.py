"""The one issue on broken data: opened, kept up to date, and closed when the data is whole again."""

from .. import github

TITLE, LABEL = "The data is broken", "drift"


def keep(repository: str, evidence: str | None) -> None:
    """Make the issue say what is broken; None closes it."""
    listed = github.api(f"repos/{repository}/issues?state=open&labels={LABEL}&per_page=100")
    found = [one for one in listed if one["title"] == TITLE and "pull_request" not in one]
    if evidence is None:
        for one in found:
            github.api(f"repos/{repository}/issues/{one['number']}", method="PATCH", body={"state": "closed"})
    elif found:
        github.api(f"repos/{repository}/issues/{found[0]['number']}", method="PATCH", body={"body": evidence})
    else:
        body = {"title": TITLE, "body": evidence, "labels": [LABEL]}
        github.api(f"repos/{repository}/issues", method="POST", body=body)
