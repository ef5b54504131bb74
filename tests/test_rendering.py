"""Whatever is answered, the project's files can be read by the programs and the people that they are for."""

import configparser
import itertools
import tomllib
import unicodedata
from pathlib import Path

import pytest
from cookiecutter.generate import generate_context, generate_files
from cookiecutter.prompt import prompt_for_config
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.bake import PRODUCT, ROOT, Problems, bake
from tests.shape import leftovers, parsed, product, verbatim

PUNCTUATION = r"""!"#$%&'()*+,-./:;<=>?@[\]^_`|~"""
UGLY = st.sampled_from(
    [*PUNCTUATION, "é", "日", "👩", "\u200d", "\u00a0", " ", "1.", "&amp;", "<b>", "---", "\\u0041", "``"]
)
LINES = st.lists(UGLY | st.characters(exclude_characters="{}", exclude_categories=["Cs", "Cc"]), max_size=40)
REMOTES = {
    "../shared": ("", "../../shared"),
    "~/dvc": ("", "~/dvc"),
    "/srv/dvc": ("", "/srv/dvc"),
    "s3://bucket/p": ("[s3]", "s3://bucket/p"),
    "gs://bucket": ("[gs]", "gs://bucket"),
    "azure://box/p": ("[azure]", "azure://box/p"),
}


@pytest.fixture(scope="module")
def rendered_only(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template without what is copied verbatim, so that a hundred projects cost seconds."""
    root = tmp_path_factory.mktemp("rendered")
    (root / "cookiecutter.json").write_text((ROOT / "cookiecutter.json").read_text())
    for name, content in product(template).items():
        if not verbatim(name):
            (root / PRODUCT / name).parent.mkdir(parents=True, exist_ok=True)
            (root / PRODUCT / name).write_text(content)
    return root


def reading(markdown: str) -> tuple[str, str]:
    """The first heading and the first paragraph, as a reader sees them; anything but plain text shows as its kind."""
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(markdown)
    first = {
        kind: next(i for i, t in enumerate(tokens) if t.type == kind) + 1 for kind in ("heading_open", "paragraph_open")
    }
    lines = (tokens[i].children or [] for i in first.values())
    heading, paragraph = ("".join(c.content if c.type == "text" else f"<{c.type}>" for c in line) for line in lines)
    return heading, paragraph


def plain(words: str) -> str:
    """Words as compared: white space of every kind and number counts as one space."""
    return " ".join("".join(" " if unicodedata.category(c) == "Zs" else c for c in words).split())


@settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=LINES.map("".join), description=LINES.map("".join))
@example(name=PUNCTUATION, description=PUNCTUATION)
@example(name='""" \\', description="''' \\")
@example(name="*a* _b_ ~~c~~ [d](e) ![f](g)", description="<https://h.org> <i>j</i> **k** __l__")
@example(name="C #", description="# not a heading")
@example(name="- no - list", description="1. [ ] <!-- a --> <script>")
@example(name="line\nbreak", description="&lt; is written so")
def test_any_line_renders_or_is_refused(
    problems: Problems, rendered_only: Path, tmp_path: Path, name: str, description: str
) -> None:
    # given answers of any characters
    answers = {"project_name": name, "description": description, "project_slug": "any"}
    context = generate_context(str(rendered_only / "cookiecutter.json"), extra_context=answers)
    context["cookiecutter"] = prompt_for_config(context, no_input=True)
    # when they are refused, it is for what they are
    if refusals := problems(context["cookiecutter"]):
        assert all(line.startswith(("project_name: ", "description: ")) for line in refusals)
        return
    # when they are not, then every file can be read, and says what was answered
    made = generate_files(str(rendered_only), context, str(tmp_path), overwrite_if_exists=True, accept_hooks=False)
    assert parsed(Path(made)) >= 2
    assert tomllib.loads((Path(made) / "pyproject.toml").read_text())["project"]["description"] == description.strip()
    heading, paragraph = reading((Path(made) / "README.md").read_text())
    assert plain(heading) == plain(name)
    assert plain(paragraph) == plain(f"Purpose: {description}")


@pytest.mark.parametrize("remote", REMOTES)
def test_every_kind_of_remote(template: Path, tmp_path: Path, remote: str) -> None:
    # given
    extra, url = REMOTES[remote]
    # when
    project = bake(template, tmp_path, dvc_remote=remote, project_slug="other", owner="acme", reviewers="acme/judges")
    # then DVC's configuration names it, the dependency can speak to it, and the rest is whole
    assert remote_url(project) == url
    assert f'"dvc{extra}",' in (project / "pyproject.toml").read_text()
    assert "@acme/judges" in (project / ".github/CODEOWNERS").read_text()
    assert parsed(project) >= 6
    assert not leftovers(project)


def test_the_default_remote_lies_beside_the_checkout(fresh: Path) -> None:
    assert (fresh / ".dvc" / remote_url(fresh)).resolve() == fresh.parent / "flight-delays-dvc-remote"


def remote_url(project: Path) -> str:
    """The address of the default remote in .dvc/config."""
    config = configparser.ConfigParser()
    config.read(project / ".dvc/config")
    return config["'remote \"storage\"'"]["url"]


def test_unusual_answers_agree(template: Path, tmp_path: Path) -> None:
    # given unusual answers of three kinds / then every combination generates and is whole
    names = ['Zoë\'s "best" & <worst> \\ 100 % 👩', "x" * 200]
    for number, (name, remote) in enumerate(itertools.product(names, ["s3://b", "../r"])):
        answers = {"project_name": name, "description": name, "dvc_remote": remote, "drift_schedule": "5 */6 * * *"}
        project = bake(template, tmp_path / str(number), **answers)
        assert parsed(project) >= 6
        assert not leftovers(project)
