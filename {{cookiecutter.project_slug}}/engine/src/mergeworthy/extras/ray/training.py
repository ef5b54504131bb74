"""The stage `train` on the cluster: its own command, with a copy of its inputs, on so many machines."""

import shutil
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy as Placed

from ... import files
from ...config.infra import Infra, Ray
from ...config.params import PARAMS
from ...errors import UserError
from ...paths import FEATURES
from ...stages import checkpoint
from ...text import say
from .cluster import PATIENCE, connected, need
from .luggage import pack, write
from .machine import Machine

PINS = Path("pyproject.toml")


def train(infra: Infra, wanted: Ray) -> None:
    """Write what the stage writes. Raise `UserError` where one machine fails or is lost: all the others are stopped.

    Checkpoints come back as they are made, so that the next try goes on there, on this cluster or without one.
    """
    inputs = [
        PARAMS,
        *filter(Path.exists, [PINS]),
        *FEATURES.glob("*.parquet"),
        *checkpoint.FOLDER.glob("*.pt"),
    ]
    nodes, needed = infra.compute.nodes, need(infra.compute, wanted, infra.compute.processes)
    say(f"training on {nodes} machine(s) of the Ray cluster {wanted.head}")
    with connected(wanted):
        group = ray.util.placement_group([needed] * nodes, strategy="STRICT_SPREAD")
        if not group.wait(PATIENCE):
            raise UserError(f"the Ray cluster has had no {nodes} machine(s) with {needed} free in {PATIENCE} s")
        each = [
            {"num_cpus": needed["CPU"], "num_gpus": needed.get("GPU", 0), "scheduling_strategy": Placed(group, number)}
            for number in range(nodes)
        ]
        luggage = pack(inputs)
        machines = [ray.remote(Machine).options(**place).remote(luggage) for place in each]
        there = _there(infra, ray.get(machines[0].meeting.remote()))
        ray.get([machine.start.remote(there) for machine in machines])
        _follow(machines)
    shutil.rmtree(checkpoint.FOLDER, ignore_errors=True)


def _follow(machines: list[Any]) -> None:
    """Tell and keep what each brings, until all have ended."""
    awaited = {machine.news.remote(): machine for machine in machines}
    while awaited:
        for ref in ray.wait(list(awaited))[0]:
            machine, news = awaited.pop(ref), ray.get(ref)
            write(news.files, Path())
            if news.status:
                raise UserError(f"training on the Ray cluster ended {_ended(news.status)}: {news.line}")
            if news.status is None:
                say(news.line)
                awaited[machine.news.remote()] = machine


def _ended(status: int) -> str:
    return f"by signal {-status}" if status < 0 else f"with exit code {status}"


def _there(infra: Infra, meeting: str) -> str:
    """Give infra.yaml as those machines read it: for them there is no other place to train."""
    content = infra.model_dump(mode="json", exclude={"ray"})
    return files.dump_yaml(content | {"compute": content["compute"] | {"rendezvous": meeting}})
