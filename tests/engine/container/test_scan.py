"""Known vulnerabilities are found by the real pip-audit, and pass only if gates.yaml accepts them today."""

import json
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml
from tests.attempts import refusal
from tests.engine.container import osv

from mergeworthy.config import gates, infra
from mergeworthy.config.gates import Accepted
from mergeworthy.release.image import count_refused, find_vulnerabilities, read_bill
from mergeworthy.release.publish import remote_digest

TODAY = date(2026, 11, 20)
PACKAGES = {"starlette": "0.49.1", "Jinja2": "3.1.6"}
LINE = "starlette 0.49.1: CVE-2026-47081 (GHSA-9hjg-9r4m-mvj7), fixed in 0.49.3"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the folder of a service's advisories, still empty; infra.yaml names the service."""
    advisories = tmp_path / "advisories"
    advisories.mkdir()
    monkeypatch.chdir(tmp_path)
    with osv.serving(advisories) as address:
        configure(address)
        yield advisories


def configure(address: str) -> None:
    tracking = {"uri": "sqlite:///mlflow.db", "experiment": "flights"}
    settings = {"source": {"kind": "flights"}, "tracking": tracking, "advisories": address}
    Path("infra.yaml").write_text(yaml.safe_dump(settings))


def publish(folder: Path, package: str, version: str, fixed: str | None) -> None:
    (folder / f"{package}.json").write_text(json.dumps(osv.advisory(package, version, fixed)))


def accept(until: date, identifier: str = "CVE-2026-47081") -> list[Accepted]:
    return [Accepted(id=identifier, reason="the service calls no other host", until=until)]


def test_every_package_is_looked_up_and_another_version_is_no_finding(folder: Path) -> None:
    publish(folder, "starlette", "0.48.0", "0.49.0")
    assert find_vulnerabilities(PACKAGES) == []
    assert (folder / "asked").read_text().splitlines() == ["starlette 0.49.1", "jinja2 3.1.6"]


def test_a_vulnerable_package_is_refused_unless_accepted_today(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(folder, "starlette", "0.49.1", "0.49.3")
    findings = find_vulnerabilities(PACKAGES)

    def refused(accepted: list[Accepted]) -> tuple[int, str]:
        return count_refused(findings, accepted, TODAY), capsys.readouterr().out

    assert refused([]) == (1, f"refused: {LINE}\n")
    assert refused(accept(TODAY)) == (0, f"accepted until 2026-11-20: {LINE} (the service calls no other host)\n")
    assert refused(accept(TODAY, "GHSA-9hjg-9r4m-mvj7"))[0] == 0  # by any of its ids
    assert refused(accept(TODAY - timedelta(1))) == (1, f"refused: {LINE}; its acceptance ended on 2026-11-19\n")
    assert refused(accept(TODAY, "CVE-2020-1")) == (
        1,
        f"refused: {LINE}\nCVE-2020-1 is accepted in gates.yaml, but no package in the image has it: remove it\n",
    )


def test_a_vulnerability_without_a_fixed_version_is_refused_too(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(folder, "jinja2", "3.1.6", None)
    assert count_refused(find_vulnerabilities(PACKAGES), [], TODAY) == 1
    assert "no version fixes it yet" in capsys.readouterr().out


@pytest.mark.attempts("advisories")
@pytest.mark.parametrize("address", ["http://127.0.0.1:9/v1/query", "{}/elsewhere"], ids=["down", "not OSV"])
def test_a_service_that_does_not_answer_is_no_pass(folder: Path, address: str) -> None:
    configure(address.format(infra().advisories))
    with refusal(r"cannot be looked up \(.*advisories in infra.yaml.*run it again"):
        find_vulnerabilities(PACKAGES)


@pytest.mark.attempts("advisories")
@pytest.mark.parametrize("answer", ["{}", '{"vulns": []}', "[]", '{"vulns": [{"id": "CVE-2000-1"}]}', "not JSON"])
def test_a_mirror_without_advisories_is_no_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    """It answers about every package as OSV does about one without vulnerabilities."""

    class Mirror(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.chdir(tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as mirror:
        Thread(target=mirror.serve_forever, daemon=True).start()
        configure(f"http://127.0.0.1:{mirror.server_port}/v1/query")
        with refusal("check advisories in infra.yaml .* an image that was not scanned is not pushed"):
            find_vulnerabilities({"Jinja2": "2.4.1", "PyYAML": "3.10"})
        mirror.shutdown()


@pytest.mark.attempts("advisories")
def test_a_bill_without_packages_is_no_pass(tmp_path: Path) -> None:
    bill = tmp_path / "sbom.json"
    bill.write_text(json.dumps({"bomFormat": "CycloneDX", "components": [{"name": "base", "version": "12"}]}))
    with refusal("names no package"):
        read_bill(bill)


@pytest.mark.attempts("advisories")
@pytest.mark.parametrize(
    "component",
    [{"purl": "pkg:pypi/a@1", "version": "1"}, {"purl": "pkg:pypi/a", "name": "a"}, {"purl": 7}, "a", None, [1]],
)
def test_a_component_that_cannot_be_looked_up_is_no_pass(tmp_path: Path, component: object) -> None:
    bill = tmp_path / "sbom.json"
    complete = {"name": "b", "version": "1", "purl": "pkg:pypi/b@1"}
    bill.write_text(json.dumps({"components": [complete, component]}))
    with refusal("has a component without a name or a version: build the image again"):
        read_bill(bill)


@pytest.mark.attempts("settings")
@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{id: CVE-2026-1, until: 2026-12-31}", "reason: Field required"),
        ("{id: CVE-2026-1, reason: never, until: 2026-12-31}", "reason: String should have at least 10"),
        ("{id: CVE-2026-1, reason: not reached by us}", "until: Field required"),
        ("{id: all, reason: not reached by us, until: 2026-12-31}", "id: String should match"),
    ],
)
def test_an_acceptance_needs_id_reason_and_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, message: str
) -> None:
    text = Path("gates.yaml").read_text()
    (tmp_path / "gates.yaml").write_text(text.replace("vulnerabilities: []", f"vulnerabilities: [{entry}]"))
    monkeypatch.chdir(tmp_path)
    with refusal(r"gates.yaml: image.accepted_vulnerabilities.0.") as error:
        gates()
    assert message in str(error.value)


@pytest.mark.attempts("proxy")
@pytest.mark.parametrize(
    "ask", [lambda: find_vulnerabilities(PACKAGES), lambda: remote_digest("127.0.0.1:9/acme/flights:1")]
)
def test_a_proxy_in_the_way_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[[], object]
) -> None:
    monkeypatch.chdir(tmp_path)
    configure("http://127.0.0.1:9/v1/query")
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with refusal(r"by way of the proxy http://127.0.0.1:9 \(HTTP_PROXY; NO_PROXY=127.0.0.1"):
        ask()
