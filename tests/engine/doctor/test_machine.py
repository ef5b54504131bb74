"""The checks of this machine: each check on given facts, and the facts collected from the real machine."""

from importlib.metadata import version

import pytest

from mergeworthy.extras import doctor
from mergeworthy.extras.doctor import Level


@pytest.mark.parametrize(
    ("present", "level", "names"),
    [
        (["git", "uv", "gh"], Level.OK, "git, uv, gh are installed"),
        (["git", "uv"], Level.WARNING, "gh is missing"),
        (["gh"], Level.PROBLEM, "git is missing (the record of everything); uv is missing"),
    ],
)
def test_a_required_tool_that_is_missing_is_a_problem(present: list[str], level: Level, names: str) -> None:
    finding = doctor.tools(present)
    assert finding.level == level
    assert names in finding.says


@pytest.mark.parametrize(("free", "level"), [(50, Level.OK), (10, Level.WARNING), (1, Level.PROBLEM)])
def test_free_disk_space_has_a_comfortable_and_a_minimum_size(free: float, level: Level) -> None:
    assert doctor.disk(free).level == level


@pytest.mark.parametrize(
    ("driver", "torch", "cuda", "device", "level"),
    [
        ("580.65.06", "2.15.0+cu132", "13.2", "auto", Level.OK),  # the oldest that supports CUDA 13
        ("570.172.08", "2.15.0+cu132", "13.2", "auto", Level.PROBLEM),
        ("570.172.08", "2.9.0+cu128", "12.8", "cuda", Level.OK),
        ("990.1", "3.0.0", "14.0", "auto", Level.OK),  # a CUDA this table does not know yet
        ("580.65.06", "2.15.0+cpu", None, "auto", Level.WARNING),
        (None, "2.15.0+cpu", None, "auto", Level.OK),
        (None, "2.15.0+cu132", "13.2", "cuda", Level.PROBLEM),
        (None, None, None, "cuda", Level.SKIPPED),
    ],
)
def test_the_driver_must_support_the_cuda_of_torch(
    driver: str | None, torch: str | None, cuda: str | None, device: str, level: Level
) -> None:
    assert doctor.gpu(driver, torch, cuda, device).level == level


def test_torch_is_read_from_its_files() -> None:
    torch, cuda = doctor.torch_build()
    assert torch is not None
    assert torch.partition("+")[0] == version("torch").partition("+")[0]
    assert cuda is None or cuda.split(".")[0].isdigit()


def test_a_remote_of_this_machine_alone_is_a_warning_once_others_take_part() -> None:
    alone = doctor.remote("/srv/dvc", None, local=True, shared=False)
    together = doctor.remote("/srv/dvc", None, local=True, shared=True)
    bucket = doctor.remote("s3://acme/dvc", None, local=False, shared=True)
    assert [finding.level for finding in (alone, together, bucket)] == [Level.OK, Level.WARNING, Level.OK]
