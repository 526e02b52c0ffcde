"""Trials on the machines of a Ray cluster: one actor a mark, with its share of a GPU."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from watermark.errors import WatermarkError
from watermark.lab.execution import Job, Watch, in_order

RETRIES = 5  # of a worker that dies: machines go, but what is out of memory once will be so again
# A network of half a million weights leaves a GPU's memory nearly empty; TensorFlow would take all of it.
ENVIRONMENT = {"TF_FORCE_GPU_ALLOW_GROWTH": "true"}


class ClusterError(WatermarkError, RuntimeError):
    """There is no Ray, or no cluster."""


class Worker:
    """An actor: makes the trials of one mark, one after the other, and hands back their records."""

    def __init__(self, make: Callable[[Job], dict]):
        os.environ.update(ENVIRONMENT)
        self.make = make

    def record(self, job: Job, until: float) -> dict | None:
        """The record of a trial; None where there was no room for this actor before `until`, `time.time()`."""
        return self.make(job) if time.time() < until else None


@dataclass(frozen=True)
class Ray:
    """On a Ray cluster. A worker that dies is started again and makes its trial again, wherever there is room.

    It takes no notice of `Watch.claim`: of two runs of one table at the same time, each makes every trial.

    Attributes:
      address: of the cluster; None for one of this machine alone.
      gpus: what an actor takes of a GPU, where the cluster has any.
    """

    address: str | None = None
    gpus: float = 0.25

    def run(self, jobs: Iterable[Job], make: Callable[[Job], dict], keep: Callable[[dict], None],
            watch: Watch) -> bool:
        """As `execution.Local.run`; records are kept in the order in which they come."""
        ray, jobs = _ray(), in_order(jobs)
        groups: dict[str, deque] = {}
        for job in jobs:
            groups.setdefault(job.group, deque()).append(job)
        with self._connected(ray), watch.over(jobs) as advance:
            actors, running, until = {}, {}, time.time() + watch.left()

            def start(group):
                if groups[group] and not watch.ended():
                    if group not in actors:
                        actors[group] = self._actor(ray, make)
                    job = groups[group].popleft()
                    running[actors[group].record.remote(job, until)] = group, job
                elif group in actors:
                    ray.kill(actors.pop(group))  # its share is for an actor that waits

            for group in groups:
                start(group)
            while running:
                (done,), _ = ray.wait(list(running), num_returns=1)
                group, job = running.pop(done)
                if record := _got(ray, done):
                    keep(record)
                    advance()
                else:
                    groups[group].appendleft(job)
                start(group)
        return not any(groups.values())

    def _actor(self, ray, make):
        gpus = self.gpus if ray.cluster_resources().get("GPU") else 0
        options = {"num_cpus": 1, "num_gpus": gpus, "max_restarts": RETRIES, "max_task_retries": RETRIES}
        return ray.remote(Worker).options(**options).remote(make)

    @contextlib.contextmanager
    def _connected(self, ray):
        try:
            ray.init(self.address, log_to_driver=False, logging_level="error")
        except (ConnectionError, ValueError) as error:
            raise ClusterError(f"expected a Ray cluster at {self.address}, got: {' '.join(str(error).split())[:200]}; "
                               "start one by `ray start --head`") from error
        try:
            yield
        finally:
            ray.shutdown()


def _ray():
    try:
        import ray
    except ImportError as error:
        raise ClusterError("--runner=ray needs Ray: pip install 'watermark-image-dnn[ray]'") from error
    return ray


def _got(ray, reference):
    """What an actor's method gave, or its own error."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayActorError as error:
        raise ClusterError(f"a worker died {1 + RETRIES} times over one mark's trials, perhaps for want of memory; the "
                           "records of the others are kept, and the same command goes on") from error
