"""Records: one JSON line a trial, in a file that is replaced whole."""

import dataclasses
import functools
import hashlib
import json
import os
import platform
import shutil
import subprocess
import uuid
from pathlib import Path

import tensorflow as tf

from watermark.files import alone, whole


def digest(*things, length=12):
    """A short name for JSON-able things: equal things, equal names."""
    text = json.dumps(things, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def essence(settings):
    """What of a dataclass enters a digest: the fields that are not at their default.

    A new option, off by default, thus leaves the names of everything made before it as they were.
    """
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)
              if getattr(settings, field.name) != field.default}
    return {name: _essence_of(value) for name, value in values.items()}


def _essence_of(value):
    if isinstance(value, tuple):
        return [_essence_of(item) for item in value]
    return essence(value) if dataclasses.is_dataclass(value) else value


def origin(workdir):
    """The work folder's own random name, made at first use and never committed.

    A record that came with the project, made elsewhere, is thereby known as such.
    """
    path = Path(workdir) / ".origin"
    if not path.exists():
        with whole(path) as temporary:
            temporary.write_text(uuid.uuid4().hex)
    return path.read_text().strip()


@functools.cache
def machine():
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
    """The records of one table, by id.

    Attributes:
      path: `results/<profile>/<table>.jsonl`.
      records: {id: record}, those that count.
    """

    def __init__(self, path, own=None):
        """Args: path: the file; own: the origin whose records count, or None for all."""
        self.path = Path(path)
        self.records = {record["id"]: record for record in _read(self.path)
                        if own in (None, record["provenance"].get("origin"))}

    def add(self, record):
        """Adds a record to the file, in place of one with the same id."""
        self.records[record["id"]] = record
        with alone(self.path):  # another process may have added some
            everything = {r["id"]: r for r in _read(self.path)} | {record["id"]: record}
            with whole(self.path) as temporary:
                temporary.write_text("".join(json.dumps(r) + "\n" for r in everything.values()))


def _read(path):
    if not path.exists():
        return
    lines = path.read_text().split("\n")
    # What follows the last newline was cut by a kill or a full disk: that trial is made again.
    for number, line in enumerate(lines[:-1], 1):
        try:
            record = json.loads(line)
            record["id"], record["values"], record["provenance"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}:{number} is not a record ({error}); delete the line, its trial is made again"
                             ) from error
        yield record
