"""Where the code calls anything outside, or prints: in the one module for it, or for a reason that is listed here."""

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
GUARDS = {"within", "answered"}  # a call inside a call of one of these has its deadline
GIT = "git reads the clone on this disk"
CONTAINER = "the container is on this machine, and has seconds of its own"
LOCAL = "DVC opens the folder here; what it reads elsewhere has a deadline"
ENGINE = "SQLAlchemy connects later, within a deadline"
TRAINING = "a training has no deadline, each answer that DVC waits for has one"
FREE_PORT = "asks for a free port"
ALLOWED = {
    "adapters/dvc.py dvc.repo.Repo": LOCAL,
    "adapters/dvc.py os.execve": TRAINING,
    "adapters/dvc.py subprocess.run": TRAINING,
    "adapters/dvc_probe.py dvc.repo.Repo": "a process of its own, which is ended in time",
    "adapters/git.py subprocess.run": GIT,
    "adapters/mlflow.py sqlalchemy.create_engine": ENGINE,
    "adapters/mlflow.py sqlalchemy.inspect": "its caller waits with a deadline",
    "release/verify.py http.client.HTTPConnection": CONTAINER,
    "release/verify.py socket.socket": FREE_PORT,
    "data/sources.py sqlalchemy.create_engine": ENGINE,
    "errors.py os.execve": "Python starts anew, in UTF-8",
    "adapters/actions.py dvc.repo.Repo": LOCAL,
    "adapters/actions.py subprocess.run": "all jobs of CI, trainings too, which a person watches",
    "extras/backtest.py http.client.HTTPConnection": CONTAINER,
    "extras/backtest.py socket.socket": FREE_PORT,
    "extras/backtest.py subprocess.Popen": "a service runs until it is ended",
    "extras/backtest.py subprocess.run": "this project's own verbs, which keep the deadlines themselves",
    "extras/clusters.py socket.create_connection": "seconds of its own: a stage calls it, and depends on no deadline",
    "extras/clusters.py socket.socket": FREE_PORT,
    "extras/clusters.py subprocess.Popen": "a training has no deadline",
    "extras/update.py subprocess.run": "this project's own code, which keeps the deadlines itself",
    "gate/champion.py subprocess.Popen": "a former commit's stages have the minutes of gates.yaml",
    "process.py subprocess.Popen": "the one place",
    "serving/app.py subprocess.run": GIT,
    "serving/log.py fsspec.url_to_fs": "its caller waits with a deadline",
    "serving/server.py socket.socket": "listens",
    "tracking.py subprocess.Popen": "MLflow's pages are served until Ctrl-C",
    "tracking.py mlflow.onnx.log_model": "its caller waits with a deadline",
    "workflow/plan.py subprocess.run": "this project's own verb, which keeps the deadlines itself",
}
PRINTED = {
    "adapters/dvc_probe.py": "JSON for the process that started it",
    "cli.py": "a JSON schema of the engine's own types",
    "errors.py": "each line of a trace, made inert",
    "extras/backtest.py": "into a file",
    "extras/clusters.py": "a YAML document for kubectl",
    "extras/doctor.py": "findings, which are made of safe lines",
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
            guarded = guarded or dotted(node.func).rpartition(".")[2] in GUARDS
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
