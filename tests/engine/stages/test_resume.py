"""A training that was killed and started again ends with the same bytes as one that was not."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import polars as pl
import pytest

from mergeworthy import files
from mergeworthy.files import MODEL, TRAINING
from mergeworthy.stages import train

RUN = "from mergeworthy.stages import train; train.main()"


@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_training_resumes(
    january: Callable[..., None], capfd: pytest.CaptureFixture[str], processes: int
) -> None:
    # given a training that is killed after an epoch
    january(processes=processes, epochs=6)
    paths = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    stopped = subprocess.Popen([sys.executable, "-c", RUN], env=paths)
    while not list(train.CHECKPOINTS.glob("*.pt")):
        assert stopped.poll() is None
        time.sleep(0.005)
    stopped.kill()
    assert stopped.wait() == -signal.SIGKILL
    assert not MODEL.exists()
    capfd.readouterr()
    # when it is started again
    train.main()
    assert "resuming" in capfd.readouterr().out
    assert not train.CHECKPOINTS.exists()
    resumed = MODEL.read_bytes(), TRAINING.read_bytes()
    # then the model is that of a training which was never stopped
    train.main()
    assert "resuming" not in capfd.readouterr().out
    assert (MODEL.read_bytes(), TRAINING.read_bytes()) == resumed


def test_a_checkpoint_of_another_training_is_not_read(january: Callable[..., None]) -> None:
    january(epochs=1)
    train.Checkpoint("of other rows").save(b"not to be read")
    train.main()
    assert pl.read_csv(files.TRAINING).height == 1
