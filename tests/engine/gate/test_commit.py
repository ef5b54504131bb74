"""The gate compares commits: code, parameters, features and ONNX, on every labelled row."""

import json
from collections.abc import Callable

import polars as pl
import pytest
from tests.engine.gate.project import GATES, GOOD, Project, flights, merge

from mergeworthy.verdict import Check, Verdict

FEATURES = "src/ml/features.py"


def named(verdict: Verdict, name: str) -> Check:
    """Return the one check of that name."""
    (check,) = [check for check in verdict.checks if check.name == name]
    return check


def deliver_july(project: Project) -> None:
    """Add a month, so that the holdout is one without recorded predictions."""
    project.deliver("2013-07", flights("2013-07", seed=7))


def change_code(project: Project, old: str, new: str) -> None:
    """Change the features' code."""
    path = project.root / FEATURES
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_worse_features_do_not_lower_the_champions_score(project: Project) -> None:
    # given features with old weather, and the best model for them
    project.build(weather_lag_hours=20)
    project.ship(signal=0.25, bias=-0.85)
    # when
    verdict = project.gate()
    # then the champion has the score that main recorded, not its score on the challenger's features
    assert named(verdict, "champion: auc").result == "block"
    assert "recorded" in named(verdict, "champion").why
    (auc,) = [item for item in verdict.comparisons if item.metric == "auc" and item.column is None]
    recorded = project.metrics("main")["auc"]
    assert auc.champion == pytest.approx(recorded)
    assert auc.worse_by > 0.05


def test_if_the_holdout_changed_the_champions_own_code_runs(project: Project) -> None:
    # given a new month, and worse features
    deliver_july(project)
    project.build(weather_lag_hours=20)
    project.ship(signal=0.25, bias=-0.85)
    verdict = project.gate()
    # then the champion built its own features of that month
    assert verdict.partition == "2013-07"
    assert "its own commit's code" in named(verdict, "champion").why
    assert named(verdict, "champion: auc").result == "block"
    (auc,) = [item for item in verdict.comparisons if item.metric == "auc" and item.column is None]
    project.build(weather_lag_hours=1)
    project.ship(**GOOD)
    assert auc.champion == pytest.approx(project.metrics()["auc"], abs=1e-6)
    # and with the same code and parameters today's features are its own
    assert "scored on this commit's features" in named(project.gate(), "champion").why


def test_a_month_delivered_again_changes_the_holdout_too(project: Project) -> None:
    # given the month before the holdout, which its features look back on, with other rows
    project.deliver("2013-05", flights("2013-05", seed=5))
    project.ship(**GOOD)
    assert "recorded" not in named(project.gate(), "champion").why


def test_recorded_predictions_stay_valid_if_older_data_changes(project: Project) -> None:
    # given two months that both have, and an older one that arrives late; `meta` of data.dvc is not used
    project.deliver("2013-04", flights("2013-04"))
    project.ship(**GOOD, noise=0.02)
    assert "recorded" in named(project.gate(), "champion").why


@pytest.fixture
def broken(project: Project) -> Project:
    """Return a project whose main has code that cannot be run any more, and whose holdout changed."""
    change_code(project, "    blur =", '    raise RuntimeError("gone with that version of polars")\n    blur =')
    project.ship(**GOOD, noise=0.01)
    merge(project, "Code for an old library")
    change_code(project, '    raise RuntimeError("gone with that version of polars")\n', "")
    deliver_july(project)
    project.ship(**GOOD)
    return project


def test_a_champion_whose_code_fails_blocks_unless_the_policy_says_how_to_go_on(broken: Project) -> None:
    check = named(broken.gate(), "champion")
    assert check.result == "block"
    assert "gone with that version of polars" in check.why
    assert "champion.if_code_fails: todays_features" in check.why
    # when the reviewed setting is there
    broken.gates(champion=GATES["champion"] | {"if_code_fails": "todays_features"})
    verdict = broken.gate()
    # then it is judged with a warning
    assert verdict.outcome == "warn"
    assert "scored on this commit's features, as gates.yaml allows" in named(verdict, "champion").why
    assert named(verdict, "champion: auc").result == "pass"


def test_a_champion_whose_code_hangs_is_stopped(broken: Project) -> None:
    broken.gates(champion=GATES["champion"] | {"minutes": 1e-6})
    check = named(broken.gate(), "champion")
    assert check.result == "block"
    assert "was not done in time" in check.why


def test_rows_that_vanish_block(project: Project) -> None:
    # given features without the rows that are hard to predict
    project.rewrite(lambda table: table.filter(pl.col("signal").abs() > 0.5))
    project.ship(**GOOD)
    check = named(project.gate(), "coverage")
    assert check.result == "block"
    kept = pl.read_parquet(project.root / "features/2013-06.parquet").height
    assert f"{6000 - kept:,} of 6,000 labelled rows of 2013-06 have no features" in check.why
    # unless gates.yaml names a coverage
    project.gates(coverage=0.5)
    check = named(project.gate(), "coverage")
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
    check = named(project.gate(), "coverage")
    assert check.result == "block"
    assert words in check.why


def test_coverage_is_checked_without_the_data_in_the_folder(project: Project) -> None:
    # given a job that has what the stages wrote, and no data
    project.dvc("push")
    for folder in project.months():
        for path in folder.iterdir():
            path.unlink()
    assert named(project.gate(), "coverage").result == "pass"


def test_another_label_is_reported_with_its_key(project: Project) -> None:
    project.build(late_minutes=60, history_hours=4)
    project.ship(**GOOD)
    check = named(project.gate(), "label")
    assert check.result == "warn"
    late = flights("2013-06").filter(pl.col("arr_delay").is_between(16, 60)).height
    assert f"{late:,} of 6,000 rows ({late / 6000:.1%})" in check.why
    assert "late_minutes (15 → 60)" in check.why
    assert "history_hours" not in check.why


def test_a_key_that_main_lacks_blocks_unless_the_policy_says_how_to_go_on(project: Project) -> None:
    # given recorded predictions of a main with another key
    recorded = project.root / "reports/predictions.parquet"
    pl.read_parquet(recorded).drop("flight").write_parquet(recorded.with_suffix(".new"))
    recorded.with_suffix(".new").replace(recorded)
    project.dvc("commit", "--force")
    merge(project, "Another key")
    check = named(project.gate(), "champion")
    assert check.result == "block"
    assert "lack the column flight" in check.why
    project.gates(champion=GATES["champion"] | {"if_code_fails": "todays_features"})
    assert named(project.gate(), "champion").result == "warn"


def test_rows_without_a_prediction_of_the_champion_are_counted(project: Project) -> None:
    # given a champion whose features lacked some rows
    project.rewrite(lambda table: table.head(5_900))
    project.gates(coverage=0.9)
    project.ship(**GOOD)
    merge(project, "A model with holes")
    project.build()
    project.ship(**GOOD, noise=0.01)
    check = named(project.gate(), "champion")
    assert check.result == "warn"
    assert "lacks 100 of 6,000 rows" in check.why


def test_small_losses_add_up(project: Project) -> None:
    # given merges that lose a little each, all within the margin
    first = project.sh("git", "rev-parse", "main")
    losses = [0.3, 0.45, 0.57, 0.68, 0.78]
    for noise in losses[:-1]:
        (project.root / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")  # so this commit is no champion
        merge(project, "A part of the stages")
        project.ship(**GOOD, noise=noise)
        merge(project, f"A little worse: {noise}")
    project.ship(**GOOD, noise=losses[-1])
    # when the next model is judged
    verdict = project.gate()
    # then it is within the margin of main's model, but not within that of the best
    assert named(verdict, "champion: auc").result == "pass"
    anchor = named(verdict, "anchor: auc")
    assert anchor.result == "block"
    assert first[:12] in anchor.why
    # unless fewer champions count, or the loss was accepted
    project.gates(anchor={"champions": 2})
    assert named(project.gate(), "anchor: auc").result == "pass"
    project.gates(anchor={"after": project.sh("git", "rev-parse", "main")})
    assert not [check for check in project.gate().checks if check.name.startswith("anchor")]


def test_an_earlier_champion_that_cannot_be_scored_is_a_warning(project: Project) -> None:
    for path in [*project.objects(), *project.objects("reports/predictions.parquet")]:
        path.unlink()
    for noise in (0.1, 0.11):
        project.ship(**GOOD, noise=noise)
        merge(project, f"Another one: {noise}")
    project.ship(**GOOD, noise=0.12)
    check = named(project.gate(), "anchor")
    assert check.result == "warn"
    assert "1 of 2 earlier champions cannot be scored" in check.why
    project.gates(anchor={"champions": 1})
    assert named(project.gate(), "anchor: auc").result == "pass"


def test_features_that_a_person_wrote_do_not_lower_the_champions_score(project: Project) -> None:
    # given a new month, main's own code and parameters, and feature files that this code did not build
    deliver_july(project)
    project.rewrite(lambda table: table.with_columns(signal=(pl.col("signal") + 2 * pl.col("noise")).cast(pl.Float32)))
    project.ship(signal=0.25, bias=-0.85)
    # then the champion is not scored on them
    verdict = project.gate()
    assert "its own commit's code" in named(verdict, "champion").why
    assert named(verdict, "champion: auc").result == "block"


@pytest.mark.parametrize(
    "renamed", [pl.lit("X"), pl.lit(None, pl.String), pl.col("origin").shuffle(1)], ids=["one", "null", "shuffled"]
)
def test_features_cannot_hide_a_slice_by_another_name(project: Project, renamed: pl.Expr) -> None:
    # given a model that is upside down at one airport, and features with other values for the airport
    at_ewr = pl.when(pl.col("origin") == "EWR").then("signal").otherwise(0).cast(pl.Float32)
    project.rewrite(lambda table: table.with_columns(signal_o=at_ewr).with_columns(origin=renamed))
    project.gates(champion={"margins": {"auc": 0.3, "log_loss": 0.3}})
    project.ship(**GOOD, signal_o=-1.2)
    # then the airport is that of the main table
    check = named(project.gate(), "slices: origin")
    assert check.result == "block"
    assert "EWR by" in check.why


def test_features_cannot_make_blocks_of_single_rows(project: Project) -> None:
    # given a champion with days as blocks, and features in which each row is a block
    project.ship(**GOOD, noise=0.2)
    days = project.gate().comparisons[0].blocks
    project.rewrite(lambda table: table.with_columns(date=pl.int_range(pl.len())))
    project.ship(**GOOD, noise=0.2)
    # then the days are the champion's
    assert project.gate().comparisons[0].blocks == days < 100


def test_a_block_column_of_lists_is_named(project: Project) -> None:
    project.rewrite(lambda table: table.with_columns(date=pl.concat_list("flight")))
    project.ship(**GOOD)
    check = named(project.gate(), "champion")
    assert check.result == "block"
    assert "bootstrap.block: the column date has type List" in check.why


def test_figures_that_evaluation_does_not_measure_block(project: Project) -> None:
    # given metrics.json with an unknown metric, which the report would show
    path = project.root / "reports/metrics.json"
    figures = json.loads(path.read_text())
    for side in ("model", "baseline"):
        figures[side]["[click](https://evil.example)"] = 1.0
    path.unlink()
    path.write_text(json.dumps(figures))
    check = named(project.gate(), "evaluation")
    assert check.result == "block"
    assert "which evaluation does not measure" in check.why


def test_values_of_a_private_column_are_no_slices(project: Project) -> None:
    project.rewrite(lambda table: table.with_columns(tailnum=pl.lit("N42")))
    project.gates(slices=GATES["slices"] | {"columns": ["tailnum"]})
    project.ship(**GOOD)
    verdict = project.gate()
    assert "slices.columns: tailnum is private" in named(verdict, "champion").why
    assert "N42" not in verdict.model_dump_json()
