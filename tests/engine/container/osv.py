"""The query API of OSV on loopback, with the advisories of a folder: `python osv.py HOST:PORT FOLDER`.

Queries are recorded in FOLDER/asked, one `package version` a line. The advisory that the scan first asks for, to
recognise a real OSV, is always known.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

QUERY, ALIVE = "/v1/query", "/alive"


def server(folder: Path, host: str = "127.0.0.1", port: int = 0) -> ThreadingHTTPServer:
    """Return a server that listens; the caller runs it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == ALIVE else 404)
            self.end_headers()

        def do_POST(self) -> None:
            query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with (folder / ("probed" if _affects(PROBE, query) else "asked")).open("a") as asked:
                asked.write(f"{query['package']['name']} {query['version']}\n")
            advisories = [known for known in [PROBE, *_advisories(folder)] if _affects(known, query)]
            body = json.dumps({"vulns": advisories} if advisories else {}).encode()
            self.send_response(200 if self.path == QUERY else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return ThreadingHTTPServer((host, port), Handler)


def _advisories(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def _affects(advisory: dict[str, Any], query: dict[str, Any]) -> bool:
    for affected in advisory["affected"]:
        is_same = all(affected["package"][key] == query["package"][key] for key in ("ecosystem", "name"))
        if is_same and query["version"] in affected["versions"]:
            return True
    return False


def advisory(package: str, version: str, fixed: str | None) -> dict[str, Any]:
    """Return an advisory about a package at a version, as OSV writes it."""
    events = [{"introduced": "0"}, *([{"fixed": fixed}] if fixed else [])]
    return {
        "schema_version": "1.7.3",
        "id": "GHSA-9hjg-9r4m-mvj7",
        "aliases": ["CVE-2026-47081"],
        "summary": "Credentials may be sent to a host that the request does not name",
        "published": "2026-11-09T19:06:08Z",
        "modified": "2026-11-12T08:21:40Z",
        "affected": [
            {
                "package": {"name": package, "ecosystem": "PyPI", "purl": f"pkg:pypi/{package}"},
                "ranges": [{"type": "ECOSYSTEM", "events": events}],
                "versions": [version],
            }
        ],
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:U/C:H/I:N/A:N"}],
        "references": [{"type": "WEB", "url": "https://example.org/advisory"}],
    }


PROBE = advisory("jinja2", "2.10", "2.10.1") | {"id": "GHSA-462w-v97r-4m45", "aliases": ["CVE-2019-10906"]}


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve within the block, and yield the address for pip-audit."""
    with server(folder) as osv:
        thread = Thread(target=osv.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{osv.server_port}{QUERY}"
        osv.shutdown()
        thread.join()


if __name__ == "__main__":
    host, _, port = sys.argv[1].partition(":")
    server(Path(sys.argv[2]), host, int(port)).serve_forever()
