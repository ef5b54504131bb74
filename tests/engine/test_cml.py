"""CML is used only if it is the file that the repository recorded."""

import hashlib
import os
from pathlib import Path

import pytest

from mergeworthy.errors import UserError
from mergeworthy.workflow import comment


@pytest.fixture
def released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project, and a `gh` that downloads this file as the file of the release."""
    release, program = tmp_path / "release", tmp_path / "bin/gh"
    release.write_text("#!/bin/sh\necho cml\n")
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nwhile [ "$1" != --output ]; do shift; done\ncp {release} "$2"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}/usr/bin{os.pathsep}/bin")
    (tmp_path / "project/.github").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    return release


def test_nothing_is_used_before_a_digest_is_recorded(released: Path) -> None:
    assert "`make cml RECORD=1`" in comment.install()
    assert not comment.PROGRAM.exists()


def test_the_recorded_file_is_used_and_no_other(released: Path) -> None:
    # given a recorded digest
    assert "commit it" in comment.install(record=True)
    digest = hashlib.sha256(released.read_bytes()).hexdigest()
    assert comment.DIGESTS.read_text().startswith(f"{digest}  cml-")
    # then a fresh checkout takes that file
    comment.PROGRAM.unlink()
    assert "is the recorded file" in comment.install()
    assert comment.PROGRAM.read_bytes() == released.read_bytes()
    assert os.access(comment.PROGRAM, os.X_OK)
    # when the release is another file, then it is refused, with `record` too, and not kept
    comment.PROGRAM.unlink()
    released.write_text("#!/bin/sh\ncurl evil\n")
    for record in (False, True):
        with pytest.raises(UserError, match=r"is not the file that \.github/cml\.sha256 records"):
            comment.install(record=record)
    assert list(comment.PROGRAM.parent.iterdir()) == []


def test_a_program_that_was_altered_here_is_replaced(released: Path) -> None:
    comment.install(record=True)
    comment.PROGRAM.write_text("#!/bin/sh\ncurl evil\n")
    comment.install()
    assert comment.PROGRAM.read_bytes() == released.read_bytes()


def test_a_damaged_record_is_one_sentence(released: Path) -> None:
    comment.DIGESTS.write_text("<<<<<<< ours\nabc\n")
    with pytest.raises(UserError, match=r"cml.sha256 must hold lines"):
        comment.install()
