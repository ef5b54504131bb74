"""Where the code speaks to anything outside, or prints: by the one module for it, or for a reason that stands here."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mergeworthy

SOURCE = Path(str(mergeworthy.__file__)).parent
SPEAK = (
    *("subprocess", "socket", "urllib.request", "http.client", "requests", "httpx"),
    *("aiohttp", "boto3", "fsspec", "sqlalchemy", "mlflow", "dvc", "os.exec", "os.system", "os.popen", "os.spawn"),
)
# Values and names: they reach nobody.
SILENT = {
    *("subprocess.CompletedProcess", "socket.gethostname", "socket.getaddrinfo", "sqlalchemy.text"),
    *("sqlalchemy.make_url", "urllib.request.Request", "urllib.request.getproxies", "urllib.request.proxy_bypass"),
    *("mlflow.entities.Metric", "mlflow.entities.Param", "mlflow.models.ModelSignature", "mlflow.types.Schema"),
    *("mlflow.types.TensorSpec", "mlflow.set_tracking_uri", "dvc.config.Config.from_cwd"),
}
WAITS = {"within", "answered"}  # a call inside one of these has their deadline
GIT = "git reads the clone on this disk"
PATIENCE = "the container is on this machine, and has seconds of its own"
LOCAL = "DVC opens the folder here; what it reads elsewhere has a deadline"
ENGINE = "SQLAlchemy connects later, within a deadline"
ALLOWED = {
    "errors.py os.execve": "Python starts anew, in UTF-8",
    "outside.py subprocess.Popen": "the one place",
    "ops/act.py subprocess.run": "all jobs of CI, trainings too, which a person watches",
    "ops/act.py dvc.repo.Repo": LOCAL,
    "ops/doctor/origin.py subprocess.run": GIT,
    "ops/doctor/probe.py dvc.repo.Repo": "a process of its own, which is ended in time",
    "ops/dvc_cli.py os.execve": "a training has no deadline, each answer that DVC waits for has one",
    "ops/dvc_cli.py subprocess.run": "a training has no deadline, each answer that DVC waits for has one",
    "ops/dvc_store.py dvc.repo.Repo": LOCAL,
    "gate/champion.py subprocess.Popen": "a former commit's stages have the minutes of gates.yaml",
    "ops/git.py subprocess.run": GIT,
    "container/verify.py http.client.HTTPConnection": PATIENCE,
    "container/verify.py socket.socket": "asks for a free port",
    "ops/lineage.py subprocess.run": GIT,
    "ops/plan.py dvc.repo.Repo": LOCAL,
    "ops/provenance.py subprocess.run": GIT,
    "ops/ray/machine.py socket.socket": "asks for a free port",
    "ops/ray/machine.py subprocess.Popen": "a training has no deadline",
    "ops/ray/reach.py socket.create_connection": "seconds of its own: a stage calls it, and depends on no deadline",
    "ops/release/status.py subprocess.run": GIT,
    "ops/replay/copy.py subprocess.run": "this project's own verbs, which keep the deadlines themselves",
    "ops/replay/serve.py http.client.HTTPConnection": PATIENCE,
    "ops/replay/serve.py socket.socket": "asks for a free port",
    "ops/replay/serve.py subprocess.Popen": "a service runs until it is ended",
    "ops/report/diff.py subprocess.run": GIT,
    "ops/resolve.py subprocess.run": GIT,
    "ops/sources/sql.py sqlalchemy.create_engine": ENGINE,
    "ops/tracking/browse.py subprocess.Popen": "MLflow's pages are served until Ctrl-C",
    "ops/tracking/content.py mlflow.onnx.log_model": "its caller waits with a deadline",
    "ops/tracking/reach.py sqlalchemy.create_engine": ENGINE,
    "ops/tracking/reach.py sqlalchemy.inspect": "its caller waits with a deadline",
    "ops/training.py subprocess.run": "this project's own verb, which keeps the deadlines itself",
    "serving/identity.py subprocess.run": GIT,
    "serving/server.py socket.socket": "listens",
    "serving/shipping.py fsspec.url_to_fs": "its caller waits with a deadline",
}
PRINTED = {
    "errors.py": "each line of a trace, made inert",
    "ops/doctor/__init__.py": "findings, which are made of safe lines",
    "ops/doctor/probe.py": "JSON for the process that started it",
    "ops/replay/copy.py": "into a file",
    "ops/trainjob.py": "a YAML document for kubectl",
}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE).as_posix(), ast.parse(path.read_text())


def imported(tree: ast.Module) -> dict[str, str]:
    """Local name → full name of all that a module imports from elsewhere, wherever in it."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                names[each.asname or each.name.split(".")[0]] = each.name if each.asname else each.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
    return names


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def unguarded(tree: ast.Module) -> set[str]:
    """Full names of the calls that reach outside of this process without a deadline."""
    names, found = imported(tree), set[str]()

    def visit(node: ast.AST, *, guarded: bool) -> None:
        if isinstance(node, ast.Call):
            first, _, rest = dotted(node.func).partition(".")
            full = f"{names.get(first, '')}.{rest}".rstrip(".")
            limited = any("Deadline." in ast.unparse(each) for each in (*node.args, *node.keywords))
            speaks = any(full.startswith(name if name.startswith("os.") else f"{name}.") for name in SPEAK)
            if speaks and full not in SILENT and not guarded and not limited:
                found.add(full)
            guarded = guarded or dotted(node.func).rpartition(".")[2] in WAITS
        for child in ast.iter_child_nodes(node):
            visit(child, guarded=guarded)

    visit(tree, guarded=False)
    return found


def printed(tree: ast.Module) -> set[str]:
    """Calls of `print` with more than our own words in them, which no function of `text` made safe."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and dotted(node.func) == "print"]
    return {ast.unparse(call) for call in calls if not all(map(_is_safe, call.args))}


def _is_safe(node: ast.expr) -> bool:
    made = isinstance(node, ast.Call) and dotted(node.func) in ("annotation", "logged")
    return made or isinstance(node, ast.Constant)


def test_every_call_outside_has_a_deadline() -> None:
    found = {f"{name} {call}" for name, tree in sources() for call in unguarded(tree)}
    assert found - ALLOWED.keys() == set(), "let mergeworthy.process wait for it, or write here why nobody has to"
    assert ALLOWED.keys() - found == set(), "these are gone: take them out"


def test_everything_printed_is_one_safe_line() -> None:
    found = {name for name, tree in sources() if printed(tree)}
    assert found == PRINTED.keys(), "print it by mergeworthy.text.say, or write here why it is safe"


@pytest.mark.parametrize(
    "code",
    [
        "import subprocess\nsubprocess.run(['curl', x], timeout=9)",
        "from subprocess import check_output as out\nout(x)",
        "import urllib.request\nurllib.request.urlopen(x)",
        "from urllib import request\nrequest.urlopen(x)",
        "def f():\n    import fsspec\n    return lambda: fsspec.open(x)",
        "import dvc.api\ndvc.api.read(x)",
        "import os\nos.execvp(x, y)",
        "import requests as r\nr.get(x, timeout=5)",
    ],
)
def test_a_call_without_a_deadline_is_seen(code: str) -> None:
    assert unguarded(ast.parse(code))
    guarded = code.replace("(x", "(Deadline.ANSWER.seconds, x", 1) if "(x" in code else ""
    assert not guarded or not unguarded(ast.parse(guarded))


def test_a_print_of_a_value_is_seen() -> None:
    assert printed(ast.parse("print(f'it says {x}')"))
    assert printed(ast.parse("print('it says', x)"))
    assert not printed(ast.parse("print(logged(x)); print('ours')"))
