"""Which trials there are to make, and making them: here and now, or this machine's share of them."""

from __future__ import annotations

import contextlib
import hashlib
import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from watermark.quiet import Lines


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


@dataclass(frozen=True)
class Local:
    """Here, one trial after the other."""

    def run(self, jobs: Iterable[Job], make: Callable[[Job], dict], keep: Callable[[dict], None],
            watch: Watch) -> bool:
        """Makes trials, and keeps their records.

        Args:
          jobs: what there is to make.
          make: the record of one; runners elsewhere pickle it.
          keep: what becomes of a record, here.
          watch: the progress bar, and the end of it.

        Returns:
          Whether all were made.
        """
        jobs = in_order(jobs)
        with watch.over(jobs) as advance:
            for job in jobs:
                if watch.ended():
                    return False
                with watch.claim(job) as wanted:
                    if wanted and watch.ended():  # another process had it, and for how long nobody knows
                        return False
                    if wanted:
                        keep(make(job))
                advance()
        return True


@dataclass(frozen=True)
class Watch:
    """What a run shows, and when it ends.

    Attributes:
      title: of the progress bar.
      stop_after: minutes after which no trial is started.
      claim: of a trial, a context in which no other process here makes it; yields whether it is still to be made. Only
        `Local` takes it: who holds several at a time would wait for another who waits for him.
    """

    title: str
    stop_after: float | None = None
    claim: Callable[[Job], contextlib.AbstractContextManager[bool]] = lambda job: contextlib.nullcontext(True)
    began: float = field(default_factory=time.monotonic)

    def ended(self) -> bool:
        """Whether no trial may start any more."""
        return self.left() < 0.0

    def left(self) -> float:
        """Seconds until then."""
        return math.inf if self.stop_after is None else self.began + 60.0 * self.stop_after - time.monotonic()

    @contextlib.contextmanager
    def over(self, jobs: Sequence[Job]) -> Iterator[Callable[[], None]]:
        """A progress bar over trials, or lines where there is no terminal; yields what to call after each."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                   TimeRemainingColumn())
        console, lines = Console(stderr=True), Lines(self.title, "trial", len(jobs))
        with Progress(*columns, console=console, disable=not jobs or not console.is_terminal) as bar:
            task = bar.add_task(self.title, total=len(jobs))

            def advance():
                bar.advance(task)
                if not console.is_terminal:
                    lines.at(int(bar.tasks[task].completed))

            yield advance
