"""One short module per DVC stage: read files, call ml, write files. Each also runs without DVC: `python -m …`."""

import os
from collections.abc import Callable
from typing import NoReturn

from ..errors import UserError, run
from .versions import check


def run_stage(main: Callable[[], None]) -> NoReturn:
    """Run a stage; where only restoring is allowed (the job that reports), running one at all is the error."""

    def guarded() -> None:
        if os.environ.get("RESTORE_ONLY"):
            raise UserError(
                "the run cache of the DVC remote does not hold this run: let the job `train` finish first, "
                "and where the remote is a folder, let it be one that both jobs' machines share"
            )
        check()
        main()

    run(guarded)
