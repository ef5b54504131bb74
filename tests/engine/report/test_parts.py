"""The sections of the report, one by one."""

import re

import polars as pl
import pytest
from tests.engine import reported
from tests.engine.markdown_tables import tables
from tests.engine.reported import BLOCK, WARN, Project, checks, comparison, git, slices, write_report

from mergeworthy.plots import BLUE, Plot, Series, mermaid
from mergeworthy.report import MARKER
from mergeworthy.text import figure
from mergeworthy.verdict import Check


def test_the_order_is_the_one_in_which_a_reviewer_decides(project: Project) -> None:
    text = write_report()
    assert text.startswith(f"{MARKER}\n## ✅ The model may be merged\n")
    parts = ["Metrics", "Slices", "What changed since", "Plots", "Cost and time"]
    at = [text.index(f"\n### {part}") for part in parts]
    assert at == sorted(at)
    last = text.strip().splitlines()[-1]
    assert git(project.root, "rev-parse", "HEAD")[:12] in last
    assert f"champion `{project.champion[:12]}`" in last


def test_who_made_the_model_is_named_with_a_persons_name_as_plain_text(project: Project) -> None:
    why = "[Ann](https://x.org) @all committed dvc.lock (0123456789ab): no training of CI made what it names."
    project.judge(checks(Check(name="provenance", result="pass", why=why)), [], project.champion)
    author, _, last = write_report().strip().splitlines()[-3:]
    assert author.startswith("**Who made the model**: ")
    assert "committed dvc.lock (0123456789ab): no training of CI" in author
    assert "@all" not in author
    assert "https://" not in author
    assert f"champion `{project.champion[:12]}`" in last


def test_reasons_stand_first_the_blocking_ones_before_the_warnings(project: Project) -> None:
    project.judge(checks(WARN, BLOCK), [], project.champion)
    lines = write_report().splitlines()
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
def test_a_change_has_the_metrics_own_sign_and_a_mark_of_what_it_shows(
    project: Project, metric: str, worse_by: float, change: str, interval: str
) -> None:
    compared = comparison(metric, worse_by)
    project.judge(checks(), [compared], project.champion)
    row = next(row for row in tables(write_report())[1] if row["Metric"].startswith(metric))
    assert row["Change"] == change
    assert row["90 % interval"] == interval  # two one-sided bounds at 95 %
    assert (row["Champion"], row["Margin"]) == (f"{compared.champion:.4f}", "0.01")


def test_without_a_champion_the_metrics_are_compared_with_a_guess_alone(project: Project) -> None:
    project.judge(checks(), [], None)
    text = write_report()
    (first, *_) = tables(text)[1]
    assert set(first) == {"Metric", "This model", "Guess"}
    assert "The first model: 6 partitions, 158,700 rows." in text
    assert "### Slices" not in text


def test_slices_come_worst_first_ten_in_sight_and_the_rest_counted(project: Project) -> None:
    project.judge(checks(), slices(140), project.champion)
    text = write_report()
    shown, more = tables(text)[3:5]
    changes = [float(row["Change"].split()[1].replace("−", "-")) for row in shown + more]
    assert (len(shown), len(more)) == (10, 90)
    assert changes == sorted(changes, reverse=True)
    assert "… and 40 more in `reports/verdict.json`" in text


def test_data_parameters_and_code_are_compared_with_the_champions_commit(project: Project) -> None:
    project.data(
        {name: rows for name, rows in reported.ROWS.items() if name != "2013-01"} | {"2013-03": 9},
        **{"2013-04": "again"},
    )
    project.write("gates.yaml", (project.root / "gates.yaml").read_text().replace("coverage: 1 ", "coverage: 0.001 "))
    text = write_report()
    assert "**Data**: added `2013-06` (28,200 rows); removed `2013-01` (24,700 rows)" in text
    assert "changed `2013-03` (26,100 → 9 rows), `2013-04` (other content in 26,800 rows)" in text
    assert "the holdout moved from `2013-05` to `2013-06`" in text
    assert {"Key": "train.widths", "Before": "[64, 32]", "Now": "[64, 64]"} in tables(text)[5]
    assert {"Key": "coverage", "Before": "1", "Now": "0.001"} in tables(text)[6]
    assert "**Code**: 1 file under `src/`, +15 −20 lines." in text
    assert "⚠️ `gates.yaml` changed: this also changes what a model must show." in text
    assert "Outside `src/`: `tests/test_model.py`." in text


def test_critical_files_are_named_before_any_other_file_and_the_rest_is_counted(project: Project) -> None:
    # given critical files among many files that sort before them, or changed more
    for number in range(30):
        project.write(f"a/{number}.md", "words\n")
        project.write(f"src/ml/model/layer_{number}.py", "line\n" * 50)
    for path in (
        "dvc.yaml",
        "Makefile",
        ".github/workflows/ci.yaml",
        "infra/runner/setup.sh",
        "polars.py",
    ):
        project.write(path, "changed\n")
    for number in range(50):
        project.write(f"deploy/{number:02}.yaml", "{}\n")
    project.commit("A lot")
    text = write_report()
    (line,) = [line for line in text.splitlines() if line.startswith("⚠️ What judges")]
    assert line.startswith(
        "⚠️ What judges, trains or releases a model changed: `dvc.yaml`, `Makefile`, `.github/workflows/ci.yaml`, "
        "`deploy/00.yaml`"
    )
    assert line.endswith(" and 15 more.")  # of 55, 40 are named
    assert text.index(line) < text.index("**Code**")
    assert "**Stages**: not available: dvc.yaml" in text  # which hides nothing else
    assert re.search(r"Outside `src/`: `a/0\.md`, .* and 23 more\.", text)


@pytest.mark.parametrize(("files", "count"), [(1, "1 file"), (11, "11 files")])
def test_a_change_of_the_engine_is_named_apart_from_the_teams_code(project: Project, files: int, count: str) -> None:
    # given a pull request that changes the engine, beside the team's own model and a file that only looks alike
    for number in range(files):
        project.write(f"engine/src/mergeworthy/gate/part_{number:02}.py", "changed\n")
    project.write("engineering/notes.md", "words\n")
    project.commit("Change the gate")
    text = write_report()
    (line,) = [line for line in text.splitlines() if "**Engine**" in line]
    assert line.startswith(
        f"⚙️ **Engine**: {count} under `engine/`, not the team's code, changed: `engine/src/mergeworthy/gate/part_00.py`"
    )
    assert line.endswith(" and 3 more." if files == 11 else "part_00.py`.")  # at most eight are named
    # then it stands before the team's code and is not counted with it
    assert text.index(line) < text.index("**Code**: 1 file under `src/`, +15 −20 lines.")
    assert text.count("engine/src/") == min(files, 8)
    assert "What judges" not in text
    assert "Outside `src/`: `engineering/notes.md`, `tests/test_model.py`." in text


def test_a_report_on_the_teams_code_alone_has_no_line_of_the_engine(project: Project) -> None:
    assert "**Code**: 1 file under `src/`" in write_report()
    assert "Engine" not in write_report()


def test_other_data_under_the_same_meta_is_reported(project: Project) -> None:
    before = (project.root / "data.dvc").read_text()
    project.data(dict(list(reported.ROWS.items())[:5]))
    assert "**Data**: unchanged." in write_report()
    path = project.root / "data.dvc"
    path.write_text(path.read_text().replace(path.read_text().split("md5: ")[1][:6], "abcdef", 1))
    assert before != path.read_text()
    assert "⚠️ other content, which the `meta` of data.dvc does not record" in write_report()


def test_stages_name_their_causes_and_the_cache_names_the_stages_that_it_saved(project: Project) -> None:
    project.lock("five months", reported.PARAMS | {"train": reported.PARAMS["train"] | {"epochs": 12}}, "first")
    project.judge(checks(), [], project.champion)
    text = write_report()
    stages = {row["Stage"]: (row[""], row["Because of"]) for row in tables(text)[-1]}
    assert stages["train"] == ("differs", "params.yaml:train.epochs")
    assert stages["evaluate"] == ("differs", "models/model.onnx")
    assert stages["features"] == stages["validate"] == ("the same", "")
    assert "2 of 4 stages had nothing to do (`features`, `validate` as on main)." in text


def test_changes_on_main_since_the_branch_are_not_reported_as_the_branchs(project: Project) -> None:
    base = project.champion
    git(project.root, "stash", "--quiet")
    git(project.root, "switch", "--quiet", "main")
    project.write("src/ml/others.py", "print()\n")
    champion = project.commit("Main goes on")
    git(project.root, "switch", "--quiet", "work")
    git(project.root, "stash", "pop", "--quiet")
    project.judge(checks(), [], champion)
    text = write_report()
    assert f"### What changed since `{base[:12]}`, where this branch left main: main has moved on since" in text
    assert "others.py" not in text


def test_slices_of_which_none_is_worse_are_behind_a_click(project: Project) -> None:
    def section() -> str:
        return write_report().split("### Slices")[1].split("\n### ")[0]

    even = [each.model_copy(update={"low": -0.001}) for each in slices(14)]
    project.judge(checks(), even, project.champion)
    assert section().count("<details><summary>All slices</summary>") == 1
    assert section().index("<details>") < section().index("| Slice |")
    # one that a check warns of, or one that is shown worse, is in sight
    for more, compared in [([WARN], even), ([], slices(14))]:
        project.judge(checks(*more), compared, project.champion)
        assert section().index("| Slice |") < section().index("<details>")


def test_answers_at_the_threshold_are_counted(project: Project) -> None:
    gates = (project.root / "gates.yaml").read_text()
    project.write("gates.yaml", gates.replace("threshold: 0.5", "threshold: 0.3"))
    text = write_report()
    assert "if a score from 0.3 on is a yes (`report.threshold` in gates.yaml):" in text
    rows = next(rows for rows in tables(text) if "Answered yes" in rows[0])
    predictions = pl.read_parquet("reports/predictions.parquet").with_columns(yes=pl.col("score") >= 0.3)
    counts = {(row["late"], row["yes"]): row["len"] for row in predictions.group_by("late", "yes").len().to_dicts()}
    assert rows[0]["Answered yes"] == f"{counts[True, True]:,}"
    assert rows[1]["Answered no"] == f"{counts[False, False]:,}"
    recall = counts[True, True] / (counts[True, True] + counts[True, False])
    precision = counts[True, True] / (counts[True, True] + counts[False, True])
    assert f"\n\nRecall {recall:.1%}; precision {precision:.1%}; false alarms " in text


def test_how_to_read_the_report_is_behind_a_click_at_its_end(project: Project) -> None:
    text = write_report()
    (body,) = re.findall(r"<details><summary>New to this\?.*?</details>", text, re.DOTALL)
    assert "90 % interval" in body
    assert "`docs/reviewer.md`" in body
    assert text.index(body) > text.index("### Cost and time")


def test_plots_are_charts_that_github_draws_and_no_file_is_named(project: Project) -> None:
    text = write_report()
    assert text.count("```mermaid") == text.count("xychart-beta") == 3
    assert "![" not in text
    assert "<img" not in text


@pytest.mark.parametrize("names", [("UA", "B6"), tuple(f"carrier number {number}" for number in range(9))])
def test_points_of_a_chart_are_numbered_if_their_names_do_not_fit(names: tuple[str, ...]) -> None:
    series = Series.of("share", BLUE, range(len(names)), [0.1] * len(names), "bar")
    text = mermaid(Plot("x", "Carriers", ("carrier", "share"), (series,), names))
    if len(names) == 2:
        assert '["UA", "B6"]' in text
        assert text.endswith("```")
    else:
        assert '["1", "2", "3", "4", "5", "6", "7", "8", "9"]' in text
        assert text.splitlines()[-1].startswith("<sub>**1** carrier number 0 · **2** carrier number 1 · ")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.79912, "0.7991"),
        (-0.5, "−0.5000"),
        (44.00712, "44.007"),
        (92.0, "92"),
        (1234.56, "1,234.6"),
        (0.0, "0.0000"),
        (1e7, "10,000,000"),
        (None, "–"),
    ],
)
def test_a_figure_is_as_exact_as_it_is_readable(value: float | None, shown: str) -> None:
    assert figure(value) == shown


def test_what_is_compared_stands_beside_its_name_so_that_a_phone_shows_it(project: Project) -> None:
    headers = [list(rows[0]) for rows in tables(write_report())]
    assert [header[:3] for header in headers if header[0] == "Metric"] == [["Metric", "Change", "This model"]]
    assert {tuple(header[:2]) for header in headers if header[0] == "Slice"} == {("Slice", "Change")}
