"""Issues that the schedule keeps: each is opened once, kept up to date, and closed when its reason is gone."""

from ...adapters import github, proposal

DATA, CHECK, LABEL = "The data is broken", "The drift check does not succeed", "drift"


def keep(repository: str, title: str, evidence: str | None) -> None:
    """Make the one issue of that title say what is wrong; None closes it."""
    listed = github.api(f"repos/{repository}/issues?state=open&labels={LABEL}&per_page=100")
    found = [one for one in listed if one["title"] == title and "pull_request" not in one]
    evidence = None if evidence is None else proposal.fitted(evidence)
    if evidence is None:
        for one in found:
            github.api(f"repos/{repository}/issues/{one['number']}", method="PATCH", body={"state": "closed"})
    elif found:
        github.api(f"repos/{repository}/issues/{found[0]['number']}", method="PATCH", body={"body": evidence})
    else:
        body = {"title": title, "body": evidence, "labels": [LABEL]}
        github.api(f"repos/{repository}/issues", method="POST", body=body)
