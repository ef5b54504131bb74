"""The stand-in of GitHub: repositories, tokens, events, and the server that answers for github.com on one machine."""

import base64
import itertools
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import api, certificates, events, mutations, pulls, queries, smart_http  # noqa: F401 - importing them registers their operations
from .events import Event
from .graphql import answer as graphql
from .repository import PullRequest, Repository
from .routes import ApiError, as_json, dispatch
from .tokens import Kind, Level, Token, mint
from .transport import HOSTS, Request, Response, Server

ADMIN = "admin"


class GitHub:
    """`with GitHub(folder) as github:` serves until the block ends. The package's text is a tour."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repositories: dict[str, Repository] = {}
        self.tokens: dict[str, Token] = {}
        self.requests: list[tuple[str, str]] = []
        self.unknown: list[str] = []
        self.suppressed: list[Event] = []
        self._events: list[Event] = []
        self._ids = itertools.count(1001)
        (folder / "repositories").mkdir(parents=True, exist_ok=True)
        self.certificates = certificates.issue(folder / "tls", HOSTS)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(self.certificates.certificate, self.certificates.key)
        self._server = Server(self._answer, tls)

    def __enter__(self) -> "GitHub":
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    # -- what a test arranges -----------------------------------------------------------------------------------------

    def create(self, full_name: str, *, parent: str | None = None) -> Repository:
        """A new, empty repository "owner/name"; with `parent`, a fork of it."""
        path = self.folder / "repositories" / f"{full_name.replace('/', '+')}.git"
        repository = Repository(full_name, path, self.next_id(), parent)
        repository.create()
        if parent:
            repository.git("fetch", "-q", str(self.repositories[parent].path), "+refs/heads/*:refs/heads/*")
        self.repositories[full_name] = repository
        return repository

    def token(
        self,
        kind: Kind,
        login: str,
        *repositories: str,
        permissions: Mapping[str, Level] | None = None,
        bypass: bool = False,
    ) -> Token:
        """A new token for `repositories`; without `permissions` it may do everything there."""
        token = mint(kind, login, frozenset(repositories), permissions, bypass=bypass)
        self.tokens[token.value] = token
        return token

    def revoke(self, token: Token) -> None:
        """End a token, as GitHub ends a job's when the job ends."""
        self.tokens.pop(token.value, None)

    def client_environment(self, token: Token | None = None) -> dict[str, str]:
        """Environment under which git, gh, curl, Python and node find the stand-in."""
        bundle, proxy = str(self.certificates.bundle), f"http://127.0.0.1:{self._server.server_port}"
        names = ("SSL_CERT_FILE", "GIT_SSL_CAINFO", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
        environment = dict.fromkeys(names, bundle) | {
            "HTTPS_PROXY": proxy, "https_proxy": proxy, "NO_PROXY": "localhost,127.0.0.1",
            "no_proxy": "localhost,127.0.0.1",
            "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1", "GH_NO_UPDATE_NOTIFIER": "1",
            "GH_PROMPT_DISABLED": "1",
        }  # fmt: skip
        return environment | ({"GH_TOKEN": token.value} if token else {})

    def url(self, repository: Repository, token: Token | None = None) -> str:
        """Clone address, with the token inside where one is given."""
        login = f"x-access-token:{token.value}@" if token else ""
        return f"https://{login}github.com/{repository.full_name}.git"

    # -- what a test reads --------------------------------------------------------------------------------------------

    def events(self) -> list[Event]:
        """The events since the last call that start workflows or wait for a click. The others: `suppressed`."""
        drained, self._events = self._events, []
        return drained

    @property
    def contacted(self) -> frozenset[str]:
        """Every host that a client wanted to reach over HTTPS, other than GitHub's."""
        return frozenset(self._server.contacted - set(HOSTS))

    def assert_no_unknown(self) -> None:
        """Fail if anything was asked that the stand-in does not offer."""
        assert not self.unknown, "the stand-in of GitHub lacks: " + "; ".join(self.unknown)

    # -- what happens -------------------------------------------------------------------------------------------------

    def next_id(self) -> int:
        """A number never given before."""
        return next(self._ids)

    def record(self, event: Event) -> None:
        """Take down an event."""
        (self.suppressed if event.state == "suppressed" else self._events).append(event)

    def pushed(self, repository: Repository, before: dict[str, str], token: Token) -> None:
        """Draw the consequences of a push: its events, and what it does to open pull requests."""
        after = repository.refs()
        changed = {ref for ref in {*before, *after} if before.get(ref) != after.get(ref)}
        for ref in sorted(changed):
            self.record(events.push(repository, token, ref, before.get(ref), after.get(ref)))
        for base in self.repositories.values():
            for pull in [pull for pull in base.pulls if pull.state == "open"]:
                sides = {(pull.head_repository, pull.head), (base.full_name, pull.base)}
                if sides & {(repository.full_name, ref.removeprefix("refs/heads/")) for ref in changed}:
                    event = pulls.follow(base, self.repositories[pull.head_repository], pull, token)
                    if event:
                        self.record(event)

    def pull_json(self, repository: Repository, pull: PullRequest) -> dict[str, Any]:
        """A pull request in GitHub's JSON."""
        return pulls.to_json(repository, self.repositories[pull.head_repository], pull)

    def _answer(self, request: Request) -> Response:
        self.requests.append((request.method, request.path))
        try:
            token = self._authenticate(request)
            response = self._git(request, token) if request.host == "github.com" else self._api(request, token)
        except ApiError as error:
            return error.response()
        if response is None:
            self.unknown.append(f"{request.method} https://{request.host}{request.path}")
            return as_json({"message": "the stand-in does not offer this"}, 501)
        return response

    def _authenticate(self, request: Request) -> Token | None:
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            value = base64.b64decode(value).decode().partition(":")[2]
        if not value:
            return None
        if value not in self.tokens:
            raise ApiError(401, "Bad credentials")
        return self.tokens[value]

    def _git(self, request: Request, token: Token | None) -> Response | None:
        for service in smart_http.SERVICES:
            name = request.path.removesuffix(service).strip("/").removesuffix(".git")
            repository = self.repositories.get(name)
            if request.path.endswith(service) and repository is not None:
                if service != "/git-receive-pack":
                    return smart_http.serve(repository, request, token, service)
                with repository.lock:
                    before = repository.refs()
                    response = smart_http.serve(repository, request, token, service)
                    if token is not None:
                        self.pushed(repository, before, token)
                return response
        return Response(404, {}, b"Not Found") if request.path.endswith(smart_http.SERVICES) else None

    def _api(self, request: Request, token: Token | None) -> Response | None:
        if token is None:
            raise ApiError(401, "Requires authentication")
        if request.path == "/graphql":
            return graphql(self, request, token)
        if "/packages/container/" in request.path and not request.path.startswith("/repos/"):
            return api.accounts.package(self, token, request.path)
        if request.path in ("/user", "/") or request.path.startswith("/users/"):
            return api.accounts.who(token, request.path)
        if request.path.startswith("/orgs/"):
            return api.accounts.shared_runners(self, token, request.path)
        return dispatch(self, request, token)
