"""Whatever a workflow, a Makefile, dvc.yaml or a README names exists: verbs, modules, commands, files, links."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.bake import PRODUCT, ROOT, files, outside, run

# A command, and not English: at the start of a line, after a key or between commands.
# `make data UNTIL=2013-07` names one verb.
VERB = re.compile(
    r"(?:^|\b(?:run|entry):|&&|;)[ \t]*@?(?:make|\$\(MAKE\)(?: --[a-z-]+)*)((?: +[a-z][a-z-]*(?![\w=/.-]))+)", re.M
)
MODULE = re.compile(r"python3? -m (mergeworthy[\w.]*)")
COMMAND = re.compile(
    r"(?:^|\b(?:run|entry):|&&|;)[ \t]*@?(?:[A-Z_]+=\S+ )?(?:\.venv/bin/)?mergeworthy ([a-z-]+)", re.MULTILINE
)
HINT = re.compile(r"`make ([^`{}]+)`")
MADE = {  # by a run, or by a person
    "data",
    "features",
    "models/model.onnx",
    "models/online",
    "mlflow.db",
    "dvc.lock",
    "uv.lock",
    ".venv",
    "demo",
    ".dvc/config.local",
    "deploy/cosign.pub",
    ".cruft.json",
    "OWNER/NAME",
}
SOURCES = ("src", "engine/src")  # of a generated project's modules
OF_PROJECT = {"project": "README.md", "project's security": "SECURITY.md", "engine": "engine/README.md"}
OF_PROJECT |= {"agents": "AGENTS.md"}
OF_PROJECT |= {page.stem: f"docs/{page.name}" for page in (ROOT / PRODUCT / "docs").glob("*.md")}


def commands(project: Path) -> set[str]:
    """Return the commands of the program `mergeworthy`: the functions of cli.py that are registered with it."""
    tree = ast.parse((project / "engine/src/mergeworthy/cli.py").read_text())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    registered = [node for node in functions if any("app.command" in ast.unparse(each) for each in node.decorator_list)]
    return {node.name.replace("_", "-") for node in registered}


def verbs(makefile: Path) -> set[str]:
    """Return the targets that a person may name."""
    return set(re.findall(r"^([a-z][a-z-]*):", makefile.read_text(), re.MULTILINE))


def spans(readme: Path) -> list[str]:
    """Return the code spans and `sh` fences of a page."""
    matches = re.findall(r"```sh\n(.*?)```|`([^`\n]+)`", readme.read_text(), re.DOTALL)
    return [fence or span for fence, span in matches]


def callers(project: Path) -> dict[str, str]:
    """Return all texts of a generated project that call a verb or a module, by file."""
    code = {str(name): (project / name).read_text() for name in files(project) if name.suffix in {".yaml", ".sh"}}
    pages = {str(name): "\n".join(spans(project / name)) for name in files(project) if name.suffix == ".md"}
    return code | pages | {"Makefile": (project / "Makefile").read_text()}


def test_every_verb_exists(fresh: Path) -> None:
    existing = verbs(fresh / "Makefile")
    named = {(who, verb) for who, text in callers(fresh).items() for m in VERB.findall(text) for verb in m.split()}
    assert {verb for _, verb in named} >= {"check", "test", "plan", "train", "gate", "verdict", "setup", "pipeline"}
    assert not {(who, verb) for who, verb in named if verb not in existing}


def test_help_lists_the_verbs_that_people_use_and_all_on_request(fresh: Path) -> None:
    few, everything = (run(["make", "help"], fresh, **outside(), ALL=which).stdout for which in ("", "1"))
    listed = [re.findall(r"^  make ([a-z-]+) (?!ALL=)", text, re.MULTILINE) for text in (few, everything)]
    assert len(listed[0]) == 12
    assert set(listed[0]) < set(listed[1])
    assert set(listed[1]) | {"top"} == verbs(fresh / "Makefile")


def test_every_hint_of_the_program_can_be_followed(fresh: Path) -> None:
    # given what messages advise, and the options that the program has behind its verbs
    makefile = (fresh / "Makefile").read_text()
    sources = [path for folder in SOURCES for path in (fresh / folder).rglob("*.py")]
    code = "".join(path.read_text() for path in sources)
    options = set(re.findall(r'"(--[a-z-]+)"', (fresh / "engine/src/mergeworthy/cli.py").read_text())) | {"--champion"}
    assert options >= {"--check", "--if-needed", "--apply"}
    hints = [(str(path.relative_to(fresh)), hint) for path in sources for hint in HINT.findall(path.read_text())]
    assert len(hints) > 40
    for who, hint in hints:
        for word in hint.split():
            # then each names verbs and variables of make's
            if variable := re.match(r"([A-Z_]+)=", word):
                name = variable[1]
                assert re.search(rf"\$\$\{{?{name}\b|\({name}\)", makefile) or f'"{name}"' in code, (who, hint)
            elif re.fullmatch(r"[a-z][a-z-]*", word):
                assert word in verbs(fresh / "Makefile"), (who, hint)
    # and no message names an option of the program behind them
    for path in sources:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise):
                texts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
                words = {word.strip("`,.:;") for text in texts if isinstance(text, str) for word in text.split()}
                assert not words & options, (path.name, words & options)


def test_the_templates_verbs_exist() -> None:
    existing = verbs(ROOT / "Makefile")
    pages = {name: "\n".join(spans(ROOT / name)) for name in ("README.md", "CONTRIBUTING.md")}
    hooks = {".pre-commit-config.yaml": (ROOT / ".pre-commit-config.yaml").read_text()}
    named = {(who, verb) for who, text in (pages | hooks).items() for m in VERB.findall(text) for verb in m.split()}
    assert not {(who, verb) for who, verb in named if verb not in existing}


def test_every_module_and_command_exists(fresh: Path) -> None:
    # given all that calls a module or a command of the program
    texts = callers(fresh).items()
    modules = {(who, module) for who, text in texts for module in MODULE.findall(text)}
    container = "deploy/image/Containerfile"
    imported = re.findall(r"mergeworthy\.[\w.]*\w", (fresh / container).read_text())
    modules |= {(container, module) for module in imported}
    called = {(who, command) for who, text in texts for command in COMMAND.findall(text)}
    # then it exists
    for who, module in modules:
        paths = [fresh / folder / module.replace(".", "/") for folder in SOURCES]
        assert any(path.with_suffix(".py").is_file() or (path / "__main__.py").is_file() for path in paths), (
            who,
            module,
        )
    assert {module for _, module in modules} > {"mergeworthy.serving.service", "mergeworthy.stages.train"}
    assert "mergeworthy.serving.app" in imported
    assert not {(who, command) for who, command in called if command not in commands(fresh)}
    # and each command is called by somebody: people know the verbs of make alone
    assert {command for _, command in called} == commands(fresh)


def test_every_file_of_the_pipeline_exists(fresh: Path) -> None:
    stages = yaml.safe_load((fresh / "dvc.yaml").read_text())["stages"].values()
    made = {"data"} | {out for stage in stages for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])}
    for stage in stages:
        for path in stage["deps"]:
            assert path in made or (fresh / path).exists(), path
        for entry in stage.get("params", []):
            for name, keys in entry.items() if isinstance(entry, dict) else [("params.yaml", [entry])]:
                text = (fresh / name).read_text()
                content = tomllib.loads(text) if name.endswith(".toml") else yaml.safe_load(text)
                for key in keys:
                    first, *below = key.split(".")
                    assert first in content, (name, key)
                    # what is further down, a setting may leave to its default
                    assert name != "pyproject.toml" or below[0] in content[first], (name, key)
        # what a stage writes, git leaves to DVC
        for out in (out for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])):
            folder = fresh / Path(out).parent
            assert f"/{Path(out).name}" in (folder / ".gitignore").read_text().splitlines(), out


def test_every_local_action_and_workflow_exists(fresh: Path) -> None:
    for workflow in [*fresh.glob(".github/workflows/*.yaml"), *ROOT.glob(".github/workflows/*.yaml")]:
        for used in re.findall(r"uses: \./(\S+)", workflow.read_text()):
            target = workflow.parents[2] / used
            assert target.is_file() or (target / "action.yaml").is_file(), (workflow.name, used)


def test_every_owned_and_packed_path_exists(fresh: Path) -> None:
    owned = [
        line.split()[0] for line in (fresh / ".github/CODEOWNERS").read_text().splitlines() if line.startswith("/")
    ]
    bento = yaml.safe_load((fresh / "bentofile.yaml").read_text())
    module, name = bento["service"].split(":")
    assert f"class {name}" in (fresh / "engine/src" / f"{module.replace('.', '/')}.py").read_text()
    kept_out = [line for line in (fresh / ".bentoignore").read_text().splitlines() if "/" in line.rstrip("/")]
    for path in [*owned, *bento["include"], *(line for line in kept_out if not line.startswith("#"))]:
        assert path.strip("/") in MADE or (fresh / path.strip("/")).exists(), path


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md", *OF_PROJECT])
def test_every_path_and_link_on_a_page_exists(fresh: Path, page: str) -> None:
    # given a page / then its links and the paths in its code spans lead somewhere, now or after a run
    readme = fresh / OF_PROJECT[page] if page in OF_PROJECT else ROOT / page
    links = [link for link in re.findall(r"\]\(([^)#:]+)\)", readme.read_text()) if link]
    paths = [
        span.strip("/")
        for span in spans(readme)
        if re.fullmatch(r"(?!\.\./)[\w.][\w./-]*/[\w./-]*|[\w.-]+\.(yaml|md|dvc|lock|json|db)", span)
    ]
    places = [readme.parent, fresh, *(fresh / folder for folder in SOURCES), fresh / "engine/src/mergeworthy", ROOT]
    for path in [*(link.replace("%7B", "{").replace("%7D", "}") for link in links), *paths]:
        assert path in MADE or path.startswith("reports/") or any((place / path).exists() for place in places), path


def test_every_page_that_a_report_links_exists(fresh: Path) -> None:
    code = "".join(path.read_text() for path in (fresh / "engine/src").rglob("*.py"))
    pages = re.findall(r'page_link\("([^"]+)"\)', code)
    assert {"docs/reviewer.md", "docs/operator.md"} <= set(pages)
    assert not [page for page in pages if not (fresh / page).exists()]
