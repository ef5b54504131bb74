"""Training in several processes: started here on one machine, or joined where torchrun started them, on any number.

`ml/` finds torch.distributed initialised, or not, and knows nothing of who did it.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from ..errors import UserError

PATIENCE = timedelta(minutes=10)  # of processes that wait for one which hangs


def started_by_torchrun() -> bool:
    """Tell whether this is one of several processes already."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def launch(processes: int, work: Callable[[], None], nodes: int = 1, rendezvous: str = "localhost:0") -> None:
    """Run `work` in so many processes of this machine; raise `UserError` where one fails, after all have ended.

    With `nodes` the same is to be done on as many machines, which meet at `rendezvous`: host and port of one of them.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    machines = LaunchConfig(
        min_nodes=nodes,
        max_nodes=nodes,
        nproc_per_node=processes,
        run_id="train",
        rdzv_backend="c10d",
        rdzv_endpoint=rendezvous,
        max_restarts=0,
    )
    try:
        elastic_launch(machines, work)()
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        said = failure.message if isinstance(failure.message, str) else failure.message.get("message", "")
        ended = f"by signal {-failure.exitcode}" if failure.exitcode < 0 else f"with exit code {failure.exitcode}"
        raise UserError(
            f"training process {rank} of {processes * nodes} ended {ended}, all are stopped: {said}"
        ) from None


@contextmanager
def joined(device: str) -> Iterator[bool]:
    """Join the other processes where there are any; gives whether this is the one that writes and tells."""
    if not started_by_torchrun():
        yield True
        return
    import torch
    from torch import distributed

    cuda = device in ("auto", "cuda") and torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
    try:
        yield distributed.get_rank() == 0
    finally:
        distributed.destroy_process_group()


def once_per_machine(work: Callable[[], None]) -> None:
    """Run `work` in one of the processes of each machine, while the others wait."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        work()
    if started_by_torchrun():
        from torch import distributed

        distributed.barrier()
