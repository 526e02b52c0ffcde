"""Which trials there are to make, and making them: here and now, or this machine's share of them."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


@dataclass(frozen=True)
class Job:
    """One trial: a row of a table, and a seed.

    Attributes:
      row: its place in the table.
      seed: of the trial.
      group: name of the model that trials share; they stay on one machine.
    """

    row: int
    seed: int
    group: str


@dataclass(frozen=True)
class Shard:
    """The share `index` of `count`, from 1; a trial belongs to a shard by its group."""

    index: int
    count: int

    @classmethod
    def of(cls, text: str) -> Shard:
        """From "2/5"."""
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise ValueError(f"--shard={text}: expected i/n with 1 <= i <= n, such as 2/5")
        return cls(int(match[1]), int(match[2]))

    @property
    def name(self) -> str:
        """Of its record files."""
        return f"{self.index}of{self.count}"

    def has(self, job: Job) -> bool:
        """Whether a trial is of this share."""
        number = int(hashlib.sha256(job.group.encode()).hexdigest(), 16)
        return number % self.count == self.index - 1


def in_order(jobs: Iterable[Job]) -> list[Job]:
    """Seed by seed, so that a run that is stopped early has whole tables of fewer trials."""
    return sorted(jobs, key=lambda job: (job.seed, job.row))


def run(jobs: Iterable[Job], make: Callable[[Job], None], title: str, stop_after: float | None = None) -> bool:
    """Makes trials one after the other.

    Args:
      jobs: what there is to make.
      make: makes one and keeps its record.
      title: of the progress bar.
      stop_after: minutes after which none is started.

    Returns:
      Whether all were made.
    """
    jobs, began = in_order(jobs), time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not jobs) as bar:
        task = bar.add_task(title, total=len(jobs))
        for job in jobs:
            if stop_after is not None and time.monotonic() - began > 60.0 * stop_after:
                return False
            make(job)
            bar.advance(task)
    return True
