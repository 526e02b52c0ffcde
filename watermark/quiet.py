"""What is written to standard error, and what is not: TensorFlow's greeting, whatever its log level."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator

EVERY = 60.0  # seconds


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Within, nothing reaches the terminal's standard error, not even from C++."""
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (AttributeError, OSError):  # it is closed: there is nothing to keep quiet
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def import_tensorflow() -> None:
    """Imports TensorFlow without its greeting; an import that fails says so as ever."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with silence():
        import tensorflow

        tensorflow.config.list_physical_devices()  # CUDA, where there is none, says so then


class Lines:
    """Progress where there is no terminal to draw a bar on, in a log or a pipe: a line a minute."""

    def __init__(self, title: str, unit: str, total: int, first: int = 0):
        self.title, self.unit, self.total, self.first = title, unit, total, first
        self.began = self.last = time.monotonic()

    def at(self, done: int, more: str = "") -> None:
        """Says how far it is, if a minute has passed."""
        now = time.monotonic()
        if now - self.last < EVERY or done <= self.first or sys.stderr is None:
            return
        self.last = now
        minutes = (now - self.began) / (done - self.first) * (self.total - done) / 60.0
        print(f"{self.title}: {self.unit} {done} of {self.total}, about {minutes:.0f} min left"
              f"{f'; {more}' if more else ''}", file=sys.stderr, flush=True)
