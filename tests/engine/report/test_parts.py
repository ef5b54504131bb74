"""What a reviewer reads, part by part."""

import re

import pytest
from tests.engine import reported
from tests.engine.markdown_tables import tables
from tests.engine.reported import BLOCK, WARN, Project, checks, duel, git, slices, written

from mergeworthy.report.sections import MARKER
from mergeworthy.verdict import Check


def test_the_order_is_the_one_in_which_a_reviewer_decides(project: Project) -> None:
    text = written()
    assert text.startswith(f"{MARKER}\n## ✅ The model may be merged\n")
    parts = ["Metrics", "Slices", "What changed since", "Plots", "Cost"]
    at = [text.index(f"\n### {part}") for part in parts]
    assert at == sorted(at)
    last = text.strip().splitlines()[-1]
    assert git(project.root, "rev-parse", "HEAD")[:12] in last
    assert f"champion `{project.champion[:12]}`" in last


def test_who_made_the_model_is_said_with_a_persons_name_as_plain_text(project: Project) -> None:
    why = "[Ann](https://x.org) @all committed dvc.lock (0123456789ab): no training of CI made what it names."
    project.judge(checks(Check(name="provenance", result="pass", why=why)), [], project.champion)
    who, _, last = written().strip().splitlines()[-3:]
    assert who.startswith("**Who made the model**: ")
    assert "committed dvc.lock (0123456789ab): no training of CI" in who
    assert "@all" not in who
    assert "https://" not in who
    assert f"champion `{project.champion[:12]}`" in last


def test_reasons_stand_first_the_blocking_ones_before_the_warnings(project: Project) -> None:
    project.judge(checks(WARN, BLOCK), [], project.champion)
    lines = written().splitlines()
    assert lines[1] == "## ⛔ The model may not be merged"
    assert lines[3].startswith("5 checks: 1 blocking, 1 warning, 3 passed.")
    assert lines[5] == "- ⛔ **champion: auc**: auc is 0.0161 worse."
    assert lines[6].startswith("- ⚠️ **slices: origin**: log_loss seems worse")


@pytest.mark.parametrize(
    ("metric", "worse_by", "change", "interval"),
    [
        ("auc", -0.0061, "🟢 +0.0061", "+0.0027 … +0.0095"),
        ("auc", 0.0061, "🔴 −0.0061", "−0.0095 … −0.0027"),
        ("log_loss", -0.0061, "🟢 −0.0061", "−0.0095 … −0.0027"),
        ("log_loss", 0.0009, "⚪ +0.0009", "−0.0025 … +0.0043"),
    ],
)
def test_a_change_has_the_metrics_own_sign_and_says_what_it_shows(
    project: Project, metric: str, worse_by: float, change: str, interval: str
) -> None:
    found = duel(metric, worse_by)
    project.judge(checks(), [found], project.champion)
    row = next(row for row in tables(written())[1] if row["Metric"].startswith(metric))
    assert row["Change"] == change
    assert row["90 % interval"] == interval  # two one-sided bounds at 95 %
    assert (row["Champion"], row["Margin"]) == (f"{found.champion:.4f}", "0.01")


def test_without_a_champion_the_metrics_stand_beside_a_guess_alone(project: Project) -> None:
    project.judge(checks(), [], None)
    text = written()
    (first, *_) = tables(text)[1]
    assert set(first) == {"Metric", "This model", "Guess"}
    assert "The first model: 6 partitions, 158,700 rows." in text
    assert "### Slices" not in text


def test_slices_come_worst_first_ten_in_sight_and_the_rest_counted(project: Project) -> None:
    project.judge(checks(), slices(140), project.champion)
    text = written()
    shown, more = tables(text)[2:4]
    changes = [float(row["Change"].split()[1].replace("−", "-")) for row in shown + more]
    assert (len(shown), len(more)) == (10, 90)
    assert changes == sorted(changes, reverse=True)
    assert "… and 40 more in `reports/verdict.json`" in text


def test_data_parameters_and_code_are_told_against_the_champions_commit(project: Project) -> None:
    project.data(
        {name: rows for name, rows in reported.ROWS.items() if name != "2013-01"} | {"2013-03": 9},
        **{"2013-04": "again"},
    )
    project.write("gates.yaml", (project.root / "gates.yaml").read_text().replace("coverage: 1 ", "coverage: 0.001 "))
    text = written()
    assert "**Data**: added `2013-06` (28,200 rows); removed `2013-01` (24,700 rows)" in text
    assert "changed `2013-03` (26,100 → 9 rows), `2013-04` (other content in 26,800 rows)" in text
    assert "the holdout moved from `2013-05` to `2013-06`" in text
    assert {"Key": "train.widths", "Before": "[64, 32]", "Now": "[64, 64]"} in tables(text)[4]
    assert {"Key": "coverage", "Before": "1", "Now": "0.001"} in tables(text)[5]
    assert "**Code**: 1 file under `src/`, +15 −20 lines." in text
    assert "⚠️ `gates.yaml` changed: this also changes what a model must show." in text
    assert "Outside `src/`: `tests/test_model.py`." in text


def test_what_decides_is_named_before_any_other_file_and_the_rest_is_counted(project: Project) -> None:
    # given one line of what decides among many files that sort before it, or changed more
    for number in range(30):
        project.write(f"a/{number}.md", "words\n")
        project.write(f"src/ml/model/layer_{number}.py", "line\n" * 50)
    for path in (
        "dvc.yaml",
        "Makefile",
        ".github/workflows/ci.yaml",
        "engine/src/mergeworthy/gate/run.py",
        "polars.py",
    ):
        project.write(path, "changed\n")
    for number in range(50):
        project.write(f"deploy/{number:02}.yaml", "{}\n")
    project.commit("A lot")
    text = written()
    (line,) = [line for line in text.splitlines() if line.startswith("⚠️ What judges")]
    assert line.startswith(
        "⚠️ What judges, trains or releases a model changed: `dvc.yaml`, `Makefile`, `.github/workflows/ci.yaml`, "
        "`engine/src/mergeworthy/gate/run.py`, `deploy/00.yaml`"
    )
    assert line.endswith(" and 15 more.")  # of 55, 40 are named
    assert text.index(line) < text.index("**Code**")
    assert "**Stages**: not to be told: dvc.yaml" in text  # which hides nothing else
    assert re.search(r"Outside `src/`: `a/0\.md`, .* and 23 more\.", text)


def test_other_data_under_the_same_meta_is_told(project: Project) -> None:
    said = (project.root / "data.dvc").read_text()
    project.data(dict(list(reported.ROWS.items())[:5]))
    assert "**Data**: unchanged." in written()
    path = project.root / "data.dvc"
    path.write_text(path.read_text().replace(path.read_text().split("md5: ")[1][:6], "abcdef", 1))
    assert said != path.read_text()
    assert "⚠️ other content, which the `meta` of data.dvc does not say" in written()


def test_stages_name_what_made_them_run_and_the_cache_what_it_saved(project: Project) -> None:
    project.lock("five months", reported.PARAMS | {"train": reported.PARAMS["train"] | {"epochs": 12}}, "first")
    project.judge(checks(), [], project.champion)
    text = written()
    stages = {row["Stage"]: (row[""], row["Because of"]) for row in tables(text)[-1]}
    assert stages["train"] == ("made anew", "params.yaml:train.epochs")
    assert stages["evaluate"] == ("made anew", "models/model.onnx")
    assert stages["features"] == stages["validate"] == ("unchanged", "")
    assert "The cache saved 2 of 4 stages (`features`, `validate`)." in text


def test_what_main_did_meanwhile_is_not_laid_at_this_branchs_door(project: Project) -> None:
    base = project.champion
    git(project.root, "stash", "--quiet")
    git(project.root, "switch", "--quiet", "main")
    project.write("src/ml/others.py", "print()\n")
    champion = project.commit("Main goes on")
    git(project.root, "switch", "--quiet", "work")
    git(project.root, "stash", "pop", "--quiet")
    project.judge(checks(), [], champion)
    text = written()
    assert f"### What changed since `{base[:12]}`, where this branch left main: main has moved on since" in text
    assert "others.py" not in text


def test_plots_are_charts_that_github_draws_and_no_file_is_named(project: Project) -> None:
    text = written()
    assert text.count("```mermaid") == text.count("xychart-beta") == 3
    assert "![" not in text
    assert "<img" not in text
