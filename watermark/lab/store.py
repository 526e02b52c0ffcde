"""Records: one JSON line a trial, in files that are only added to; several processes and machines may write."""

from __future__ import annotations

import functools
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from numbers import Number
from pathlib import Path

import tensorflow as tf

from watermark.files import add_line, locked


@functools.cache
def machine() -> dict:
    """What a record says of where it was made."""
    root = Path(__file__).parents[2]
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    commit = None
    if shutil.which("git"):
        commit = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False).stdout.strip() or None
    gpus = [gpu.name for gpu in tf.config.list_physical_devices("GPU")]
    return {"commit": commit, "cpus": os.cpu_count(), "machine": platform.machine(),
            "gpus": gpus, "python": platform.python_version(), "tensorflow": tf.__version__}


class Store:
    """The records of one table by id; of two with one id, the last read counts.

    Attributes:
      path: the file that is added to, `<folder>/<table>.jsonl` or, for a shard, `<folder>/<table>.<shard>.jsonl`.
      records: {id: record} of all of the table's files in the folder, and in those that are only read.
      needs: names of what each record must have.
    """

    def __init__(self, folder: str | Path, table: str, shard: str = "", read_only: Sequence[str | Path] = (),
                 needs: Sequence[str] = ()):
        self.path = Path(folder) / ".".join(filter(None, (table, shard, "jsonl")))
        self.table, self.records, self.needs = table, {}, needs
        self.refresh(*read_only, folder)

    def refresh(self, *folders: str | Path) -> None:
        """Reads what is in some folders, by default what other processes have added to this one's."""
        files = [path for there in folders or (self.path.parent,) for path in files_of(there, self.table)]
        self.records |= {record["id"]: record for path in files for record in read(path, self.needs)}

    def add(self, record: dict) -> None:
        """Adds a record, a whole line or nothing."""
        with locked(self.path):
            if self.path.exists():
                os.truncate(self.path, _whole_lines(self.path))  # what a kill cut off
            add_line(self.path, json.dumps(record))
        self.records[record["id"]] = record


def files_of(folder: str | Path, table: str) -> list[Path]:
    """A table's files of records in a folder: its own, then its shards'."""
    folder = Path(folder)
    return [path for path in (folder / f"{table}.jsonl", *sorted(folder.glob(f"{table}.*.jsonl"))) if path.exists()]


def _whole_lines(path):
    """How many bytes of a file are whole lines."""
    content = path.read_bytes()
    return content.rfind(b"\n") + 1


def read(path: Path, needs: Sequence[str] = ()) -> Iterator[dict]:
    """The records of a file; what follows the last newline was cut off, and that trial is made again.

    Each has "id", "provenance", "values", all of them numbers, and what else it `needs`.

    Raises:
      ValueError: for a line that is no record.
    """
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], 1):
        try:
            record = json.loads(line)
            for name in ("id", "provenance", *needs):
                record[name]
            if strange := {name: one for name, one in record["values"].items() if not isinstance(one, Number)}:
                raise TypeError(f"no numbers: {strange}")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}:{number} is not a record ({error!r:.200}); delete the line, its trial is made "
                             "again") from error
        yield record
