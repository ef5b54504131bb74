"""A model is a commit, and is judged as one: code, parameters, features and ONNX, on every row with a label."""

import json
from collections.abc import Callable

import polars as pl
import pytest
from tests.engine.gate.project import GATES, GOOD, Project, flights, on_main

from mergeworthy.verdict import Check, Verdict

FEATURES = "src/ml/features.py"


def said(verdict: Verdict, name: str) -> Check:
    """The one check of that name."""
    (check,) = [check for check in verdict.checks if check.name == name]
    return check


def july(project: Project) -> None:
    """A new month moves the holdout, so that nothing recorded is about it."""
    project.deliver("2013-07", flights("2013-07", seed=7))


def recode(project: Project, old: str, new: str) -> None:
    """Change the features' code."""
    path = project.root / FEATURES
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_worse_features_are_no_excuse(project: Project) -> None:
    # given features that know the weather late, and a model that does what it can with them
    project.build(weather_lag_hours=20)
    project.ship(signal=0.25, bias=-0.85)
    # when
    verdict = project.gate()
    # then the champion is worth what main recorded, and not what it makes of the challenger's features
    assert said(verdict, "champion: auc").result == "block"
    assert "recorded" in said(verdict, "champion").why
    (auc,) = [one for one in verdict.comparisons if one.metric == "auc" and one.column is None]
    recorded = project.metrics("main")["auc"]
    assert auc.champion == pytest.approx(recorded)
    assert auc.worse_by > 0.05


def test_where_the_holdout_moved_the_champions_own_commit_is_run(project: Project) -> None:
    # given a new month, and worse features
    july(project)
    project.build(weather_lag_hours=20)
    project.ship(signal=0.25, bias=-0.85)
    verdict = project.gate()
    # then the champion built its own features of that month
    assert verdict.partition == "2013-07"
    assert "its own commit's code" in said(verdict, "champion").why
    assert said(verdict, "champion: auc").result == "block"
    (auc,) = [one for one in verdict.comparisons if one.metric == "auc" and one.column is None]
    project.build(weather_lag_hours=1)
    project.ship(**GOOD)
    assert auc.champion == pytest.approx(project.metrics()["auc"], abs=1e-6)
    # and with the same code and parameters today's features are its own
    assert "scored on this commit's features" in said(project.gate(), "champion").why


def test_a_month_delivered_anew_moves_the_holdout_too(project: Project) -> None:
    # given the month before the holdout, which its features look back on, with other rows
    project.deliver("2013-05", flights("2013-05", seed=5))
    project.ship(**GOOD)
    assert "recorded" not in said(project.gate(), "champion").why


def test_older_data_leaves_what_was_recorded_true(project: Project) -> None:
    # given two months that both have, and an older one that arrives late; `meta` of data.dvc is not asked
    project.deliver("2013-04", flights("2013-04"))
    project.ship(**GOOD, noise=0.02)
    assert "recorded" in said(project.gate(), "champion").why


@pytest.fixture
def broken(project: Project) -> Project:
    """A project whose main has code that does not run any more, and whose holdout moved."""
    recode(project, "    blur =", '    raise RuntimeError("gone with that version of polars")\n    blur =')
    project.ship(**GOOD, noise=0.01)
    on_main(project, "Code of another time")
    recode(project, '    raise RuntimeError("gone with that version of polars")\n', "")
    july(project)
    project.ship(**GOOD)
    return project


def test_a_champion_whose_code_fails_blocks_unless_the_policy_says_how_to_go_on(broken: Project) -> None:
    check = said(broken.gate(), "champion")
    assert check.result == "block"
    assert "gone with that version of polars" in check.why
    assert "champion.if_code_fails: todays_features" in check.why
    # when the reviewed setting is there
    broken.gates(champion=GATES["champion"] | {"if_code_fails": "todays_features"})
    verdict = broken.gate()
    # then it is judged, and said so
    assert verdict.outcome == "warn"
    assert "scored on this commit's features, as gates.yaml allows" in said(verdict, "champion").why
    assert said(verdict, "champion: auc").result == "pass"


def test_a_champion_whose_code_hangs_is_stopped(broken: Project) -> None:
    broken.gates(champion=GATES["champion"] | {"minutes": 1e-6})
    check = said(broken.gate(), "champion")
    assert check.result == "block"
    assert "was not done in time" in check.why


def test_rows_that_vanish_block(project: Project) -> None:
    # given features that drop what is hard to tell
    project.rewrite(lambda table: table.filter(pl.col("signal").abs() > 0.5))
    project.ship(**GOOD)
    check = said(project.gate(), "coverage")
    assert check.result == "block"
    kept = pl.read_parquet(project.root / "features/2013-06.parquet").height
    assert f"{6000 - kept:,} of 6,000 labelled rows of 2013-06 have no features" in check.why
    # unless gates.yaml names a coverage
    project.gates(coverage=0.5)
    check = said(project.gate(), "coverage")
    assert (check.result, check.figure, check.limit) == ("warn", kept / 6000, 0.5)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda table: pl.concat([table, table.head(9)]), "9 rows more than keys"),
        (lambda table: table.with_columns(flight=pl.col("flight") - 1), "labelled rows that the main table does not"),
        (lambda table: table.with_columns(late=~pl.col("late")), "another label than the task"),
        (lambda table: table.drop("flight"), "lack the column flight"),
        (lambda table: table.with_columns(pl.col("flight").cast(pl.String)), "key of another type"),
    ],
    ids=["twice", "invented", "relabelled", "no key", "key retyped"],
)
def test_the_holdout_is_the_main_tables_own_rows(
    project: Project, edit: Callable[[pl.DataFrame], pl.DataFrame], words: str
) -> None:
    path = project.root / "features/2013-06.parquet"
    edit(pl.read_parquet(path)).write_parquet(path)
    check = said(project.gate(), "coverage")
    assert check.result == "block"
    assert words in check.why


def test_coverage_is_told_without_the_data_in_the_folder(project: Project) -> None:
    # given a job that has what the stages wrote, and no data
    project.dvc("push")
    for folder in project.months():
        for path in folder.iterdir():
            path.unlink()
    assert said(project.gate(), "coverage").result == "pass"


def test_another_label_is_told_with_its_key(project: Project) -> None:
    project.build(late_minutes=60, history_hours=4)
    project.ship(**GOOD)
    check = said(project.gate(), "label")
    assert check.result == "warn"
    late = flights("2013-06").filter(pl.col("arr_delay").is_between(16, 60)).height
    assert f"{late:,} of 6,000 rows ({late / 6000:.1%})" in check.why
    assert "late_minutes (15 → 60)" in check.why
    assert "history_hours" not in check.why


def test_a_key_that_main_does_not_know_blocks_unless_the_policy_says_how_to_go_on(project: Project) -> None:
    # given recorded predictions of a main whose key was another
    recorded = project.root / "reports/predictions.parquet"
    pl.read_parquet(recorded).drop("flight").write_parquet(recorded.with_suffix(".new"))
    recorded.with_suffix(".new").replace(recorded)
    project.dvc("commit", "--force")
    on_main(project, "Another key")
    check = said(project.gate(), "champion")
    assert check.result == "block"
    assert "lack the column flight" in check.why
    project.gates(champion=GATES["champion"] | {"if_code_fails": "todays_features"})
    assert said(project.gate(), "champion").result == "warn"


def test_rows_without_a_prediction_of_the_champion_are_counted(project: Project) -> None:
    # given a champion whose features lacked some rows
    project.rewrite(lambda table: table.head(5_900))
    project.gates(coverage=0.9)
    project.ship(**GOOD)
    on_main(project, "A model with holes")
    project.build()
    project.ship(**GOOD, noise=0.01)
    check = said(project.gate(), "champion")
    assert check.result == "warn"
    assert "lacks 100 of 6,000 rows" in check.why


def test_small_losses_add_up(project: Project) -> None:
    # given merges that lose a little each, all within the margin
    first = project.sh("git", "rev-parse", "main")
    losses = [0.3, 0.45, 0.57, 0.68, 0.78]
    for noise in losses[:-1]:
        (project.root / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")  # which is no champion
        on_main(project, "A part of the stages")
        project.ship(**GOOD, noise=noise)
        on_main(project, f"A little worse: {noise}")
    project.ship(**GOOD, noise=losses[-1])
    # when the next one asks
    verdict = project.gate()
    # then it is within the margin of main's model, and not within that of the best
    assert said(verdict, "champion: auc").result == "pass"
    anchor = said(verdict, "anchor: auc")
    assert anchor.result == "block"
    assert first[:12] in anchor.why
    # unless fewer are looked at, or the loss was decided on
    project.gates(anchor={"champions": 2})
    assert said(project.gate(), "anchor: auc").result == "pass"
    project.gates(anchor={"after": project.sh("git", "rev-parse", "main")})
    assert not [check for check in project.gate().checks if check.name.startswith("anchor")]


def test_an_anchor_that_cannot_be_had_is_said(project: Project) -> None:
    for path in [*project.objects(), *project.objects("reports/predictions.parquet")]:
        path.unlink()
    for noise in (0.1, 0.11):
        project.ship(**GOOD, noise=noise)
        on_main(project, f"Another one: {noise}")
    project.ship(**GOOD, noise=0.12)
    check = said(project.gate(), "anchor")
    assert check.result == "warn"
    assert "1 of 2 earlier champions cannot be scored" in check.why
    project.gates(anchor={"champions": 1})
    assert said(project.gate(), "anchor: auc").result == "pass"


def test_features_that_a_person_made_do_not_lower_the_champion(project: Project) -> None:
    # given a new month, main's own code and parameters, and feature files that this code does not build
    july(project)
    project.rewrite(lambda table: table.with_columns(signal=(pl.col("signal") + 2 * pl.col("noise")).cast(pl.Float32)))
    project.ship(signal=0.25, bias=-0.85)
    # then the champion is not scored on them
    verdict = project.gate()
    assert "its own commit's code" in said(verdict, "champion").why
    assert said(verdict, "champion: auc").result == "block"


@pytest.mark.parametrize(
    "renamed", [pl.lit("X"), pl.lit(None, pl.String), pl.col("origin").shuffle(1)], ids=["one", "null", "shuffled"]
)
def test_features_cannot_rename_a_slice_away(project: Project, renamed: pl.Expr) -> None:
    # given a model that is upside down at one airport, and features in which no airport can be told
    at_ewr = pl.when(pl.col("origin") == "EWR").then("signal").otherwise(0).cast(pl.Float32)
    project.rewrite(lambda table: table.with_columns(signal_o=at_ewr).with_columns(origin=renamed))
    project.gates(champion={"margins": {"auc": 0.3, "log_loss": 0.3}})
    project.ship(**GOOD, signal_o=-1.2)
    # then the airport is the main table's
    check = said(project.gate(), "slices: origin")
    assert check.result == "block"
    assert "EWR by" in check.why


def test_features_cannot_make_blocks_of_single_rows(project: Project) -> None:
    # given a champion whose days are known, and features in which each row is a day of its own
    project.ship(**GOOD, noise=0.2)
    days = project.gate().comparisons[0].days
    project.rewrite(lambda table: table.with_columns(date=pl.int_range(pl.len())))
    project.ship(**GOOD, noise=0.2)
    # then the days are the champion's
    assert project.gate().comparisons[0].days == days < 100


def test_a_block_that_has_no_text_is_named(project: Project) -> None:
    project.rewrite(lambda table: table.with_columns(date=pl.concat_list("flight")))
    project.ship(**GOOD)
    check = said(project.gate(), "champion")
    assert check.result == "block"
    assert "bootstrap.block: the column date has type List" in check.why


def test_figures_that_evaluation_does_not_measure_block(project: Project) -> None:
    # given metrics.json with a name of somebody's own, which the report would show
    path = project.root / "reports/metrics.json"
    figures = json.loads(path.read_text())
    for side in ("model", "baseline"):
        figures[side]["[click](https://evil.example)"] = 1.0
    path.unlink()
    path.write_text(json.dumps(figures))
    check = said(project.gate(), "evaluation")
    assert check.result == "block"
    assert "which evaluation does not measure" in check.why


def test_values_of_a_private_column_are_no_slices(project: Project) -> None:
    project.rewrite(lambda table: table.with_columns(tailnum=pl.lit("N42")))
    project.gates(slices=GATES["slices"] | {"columns": ["tailnum"]})
    project.ship(**GOOD)
    verdict = project.gate()
    assert "slices.columns: tailnum is private" in said(verdict, "champion").why
    assert "N42" not in verdict.model_dump_json()
