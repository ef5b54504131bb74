"""`make picture`: draw the README's picture of a report on a pull request, in GitHub's light and dark style.

The report is real: the project of `make demo` is the champion, a change of its code and a further month of flights are
the pull request, and the project's own verbs train, judge and report. Only the drawing is not GitHub's: here Markdown
becomes HTML with GitHub's published stylesheet, and Chromium takes the picture.
"""

import shutil
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path

from markdown_it import MarkdownIt

from tests.bake import ROOT, git
from tests.readme import changed, shown
from tests.work import make

PICTURES = ROOT / "pictures"
MAX_BYTES = 200_000  # of a picture, so that the README is soon there
WIDTH, HEIGHT, SCALE = 880, 930, 1.35  # of the drawn part, the report's beginning; `SCALE` for fine screens
PACKAGES = {"github-markdown-css": "5.9.0"}
TOOLS = ROOT / ".tools/web"
PROGRAMS = ("chromium", "npm")
COLOURS = {"light": ("#ffffff", "#d1d9e0"), "dark": ("#0d1117", "#3d444d")}  # page and border
PULL_REQUEST = {  # as CI says it to the verbs; without the number of a run nothing is asked of GitHub
    "GITHUB_ACTIONS": "true",
    "GITHUB_REPOSITORY": "octo-org/flight-delays",
    "PULL_REQUEST": "7",
    "BRANCH": "weekend",
}


def main(demo: Path) -> int:
    """Draw both pictures from a project that `make demo` made; return 1 with a sentence if that is not possible."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        print(f"error: install {' and '.join(missing)}, which draw the picture", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        draw(report(demo, Path(folder) / demo.name))
    return 0


def report(demo: Path, folder: Path) -> str:
    """Return the report on a change of the demo's model, made in `folder`."""
    shutil.copytree(demo, folder, symlinks=True, ignore=shutil.ignore_patterns(".venv"))
    (folder / ".venv").symlink_to(demo / ".venv")
    _commit(folder, "The champion")
    git(folder, "update-ref", "refs/remotes/origin/main", "HEAD")
    (diff,) = shown(folder / "README.md", "diff")  # the first change that a project's README shows
    features = folder / "src/ml/features.py"
    features.write_text(changed(features.read_text(), diff))
    make(folder, "data", "UNTIL=2013-07")
    make(folder, "pipeline")
    _commit(folder, "Tell weekends from weekdays")
    environment = PULL_REQUEST | {"COMMIT": git(folder, "rev-parse", "HEAD").strip()}
    for verb in ("gate", "report"):
        make(folder, verb, **environment)
    return (folder / "reports/report.md").read_text()


def draw(markdown: str) -> None:
    """Write the pictures of a report; raise `RuntimeError` if one is too large for a README."""
    style = _package("github-markdown-css")
    PICTURES.mkdir(exist_ok=True)
    for theme in COLOURS:
        css = (style / f"github-markdown-{theme}.css").read_text()
        picture = PICTURES / f"report-{theme}.png"
        _screenshot(page(markdown, css, *COLOURS[theme]), picture)
        size = picture.stat().st_size
        if size > MAX_BYTES:
            raise RuntimeError(f"{picture.name}: {size:,} bytes, of {MAX_BYTES:,}: lower SCALE or HEIGHT")
        print(f"{picture.relative_to(ROOT)} is drawn: {size:,} bytes")


def page(markdown: str, css: str, background: str, border: str) -> str:
    """Return the page with the report as the text of a comment."""
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    parser.add_render_rule("fence", lambda _self, tokens, index, *_: f"<pre>{escape(tokens[index].content)}</pre>")
    box = f"border:1px solid {border};border-radius:6px;padding:8px 20px;font-size:14px"
    frame = f"body{{margin:0;padding:4px;background:{background};overflow:hidden}}.markdown-body{{{box}}}"
    body = f'<article class="markdown-body">{parser.render(markdown)}</article>'
    return f'<!doctype html><meta charset="utf-8"><style>{css}{frame}</style>{body}'


def _commit(folder: Path, message: str) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)


def _package(name: str) -> Path:
    """Return the folder of a package of npm's, installed if it is missing."""
    folder = TOOLS / "node_modules" / name
    if not folder.exists():
        TOOLS.mkdir(parents=True, exist_ok=True)
        install = ["npm", "install", "--silent", "--no-audit", "--ignore-scripts", "--prefix", str(TOOLS)]
        subprocess.run([*install, f"{name}@{PACKAGES[name]}"], check=True, timeout=300)
    return folder


def _screenshot(html: str, picture: Path) -> None:
    """Write a picture of the top of a page."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "report.html"
        source.write_text(html)
        options = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--user-data-dir={folder}/profile"]
        options += [f"--window-size={WIDTH},{HEIGHT}", f"--force-device-scale-factor={SCALE}"]
        command = ["chromium", *options, f"--screenshot={picture}", source.as_uri()]
        subprocess.run(command, check=True, timeout=120, capture_output=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve() / "flight-delays"))
