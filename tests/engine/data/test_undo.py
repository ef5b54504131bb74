"""If the last step of `make data` fails, data/ and data.dvc are as they were."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from tests.engine.data.delivered import data_bytes, recorded

from mergeworthy.data.fetch import fetch
from mergeworthy.errors import UserError


def test_a_second_dvc_is_one_line(project: Path) -> None:
    # given a dvc that holds data/ (DVC's own lock file, naming a process that lives)
    holder = {"write": {str(Path("data").resolve()): {"pid": os.getpid(), "cmd": "dvc repro"}}, "read": {}}
    Path(".dvc/tmp/rwlock").write_text(json.dumps(holder))
    before = data_bytes()

    with pytest.raises(UserError, match="another dvc command is running in this folder"):
        fetch("2013-03")

    assert data_bytes() == before


def test_a_failing_last_step_puts_everything_back(project: Path) -> None:
    # given a cache that can take nothing new: where DVC wants a folder, a file lies
    for prefix in range(256):
        folder = Path(f".dvc/cache/files/md5/{prefix:02x}")
        folder.exists() or folder.touch()
    before = data_bytes()

    # when `dvc add` meets it
    with pytest.raises(UserError, match="dvc add failed"):
        fetch("2013-03")

    # then the month that already lay in data/ is gone again
    assert data_bytes() == before


def test_a_ctrl_c_in_the_last_step_puts_everything_back(project: Path) -> None:
    # given someone who presses Ctrl-C once the new month lies in data/
    before = data_bytes()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with it ignored

    def press() -> None:
        while not Path("data/2013-03").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press, daemon=True)
    thread.start()

    with pytest.raises(KeyboardInterrupt):
        fetch("2013-03")

    assert data_bytes() == before

    # and nothing that was left behind is in the way of the next run
    fetch("2013-03")
    assert list(recorded()) == ["2013-01", "2013-02", "2013-03"]
