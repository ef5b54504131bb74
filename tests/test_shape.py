"""A project is small, plain and complete: the limits that the template sets itself."""

import ast
import re
from pathlib import Path

from tests.bake import PRODUCT, ROOT, files
from tests.shape import JINJA, SETTINGS, leftovers, parsed, product, text, verbatim

FUNCTION_LINES = 70  # at most
FILES, LINES = 80, 6_000  # of a generated project outside engine/, at most


def test_nothing_is_left_over(fresh: Path) -> None:
    assert leftovers(fresh) == []


def test_a_leftover_would_be_found(tmp_path: Path) -> None:
    # given leftovers in a rendered file without an extension, in a verbatim one, and in a name
    (tmp_path / "src").mkdir()
    (tmp_path / "LICENSE").write_text("Copyright {{ owner }}\n")
    (tmp_path / "src/a.py").write_text("name = '{{ cookiecutter.project_name }}'  # and {{fine}}\n")
    (tmp_path / "src/{{x}}.yaml").write_text("on: ${{ github.event }}\n")
    # then each is named, and what belongs to GitHub or Python is not
    assert len(leftovers(tmp_path)) == 3


def test_every_file_can_be_read(fresh: Path) -> None:
    assert parsed(fresh) >= 8


def test_what_is_copied_is_the_product_byte_for_byte(template: Path, fresh: Path) -> None:
    # so that people get what is linted, typed and tested unrendered
    content = product(template)
    copied = {name for name in content if verbatim(name) and name.parts[0] != "samples"}  # of which one is put in place
    assert copied <= set(files(fresh))
    for name in copied:
        assert text(fresh / name) == content[name], name


def test_little_template_language(template: Path) -> None:
    # given the product as it stands
    jinja = {name for name, content in product(template).items() if re.search(JINJA, content)}
    # then few files hold Jinja, and every other file is listed to be copied verbatim
    assert len(jinja) <= 8
    assert {name for name in product(template) if not verbatim(name)} == jinja
    listed = [name for name in SETTINGS["_copy_without_render"] if "*" not in name]  # the others are caches
    assert not [name for name in listed if not (template / PRODUCT / name).exists()]
    assert sum(len(re.findall(r"\{%-? *if\b", content)) for content in product(template).values()) <= 15


def test_no_function_is_long(template: Path) -> None:
    lengths = {}
    for name in files(template):
        if name.suffix == ".py":
            for node in ast.walk(ast.parse(text(template / name))):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    lengths[f"{name}: {node.name}"] = (node.end_lineno or node.lineno) - node.lineno + 1
    assert len(lengths) > 1000
    assert not {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES}


def test_what_a_team_inherits_beside_the_engine_is_small(fresh: Path) -> None:
    own = [name for name in files(fresh) if name.parts[0] != "engine"]
    lines = sum(len(text(fresh / name).splitlines()) for name in own)
    print(f"\noutside engine/: {len(own)} files, {lines:,} lines")
    assert len(own) <= FILES
    assert lines <= LINES


def test_readmes_fit_on_a_page(fresh: Path) -> None:
    for readme in (ROOT / "README.md", fresh / "README.md"):
        assert len(readme.read_text().splitlines()) <= 150
