"""False alarms and power of the drift check: small versions of the tables that benchmarks/drift.py prints."""

import pytest
from tests.engine.drift.simulation import SHIFTS, TASKS, World
from tests.engine.registration import with_task


@pytest.mark.parametrize("world", [World(500), World(2000, numbers=30, categories=15, values=200)])
def test_a_year_without_a_change_has_at_most_one_alarm(world: World) -> None:
    assert world.alarms() <= 1


@pytest.mark.parametrize("name", SHIFTS)
def test_a_shift_is_found_within_two_windows(name: str) -> None:
    found = [World(2000, seed=seed).finds(SHIFTS[name], labels=name == "labels alone") for seed in range(10)]
    assert sum(found) >= 9


def test_labels_that_show_the_champion_to_be_as_good_outweigh_inputs_that_moved() -> None:
    # given inputs that moved / when labels show that predictions are as good as before, then nothing is called for
    world, shift = World(5000), SHIFTS["new category at 5 %"]
    assert world.finds(shift)
    assert not world.finds(shift, labels=True)


@pytest.mark.parametrize("task", TASKS)
def test_a_year_without_a_change_has_at_most_one_alarm_for_other_tasks(task: str) -> None:
    with with_task(TASKS[task]):
        assert World(2000, numbers=20, categories=10).alarms() <= 1


@pytest.mark.parametrize("name", SHIFTS)
@pytest.mark.parametrize("task", TASKS)
def test_a_shift_is_found_for_other_tasks(task: str, name: str) -> None:
    with with_task(TASKS[task]):
        found = [World(2000, seed=seed).finds(SHIFTS[name], labels=name == "labels alone") for seed in range(20)]
    assert sum(found) >= 19
