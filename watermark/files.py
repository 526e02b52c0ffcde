"""Files that appear whole or not at all."""

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from filelock import FileLock


@contextlib.contextmanager
def whole(path, mode=0o644):
    """Yields a temporary path beside `path` that takes its place, with permissions `mode`, on success.

    After an error, or a kill at any moment, `path` is what it was before.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: Keras and numpy look at it.
    handle, temporary = tempfile.mkstemp(prefix=".part-", suffix=path.suffix, dir=path.parent)
    os.close(handle)  # mkstemp makes it 0600, so a secret is never readable, not even half-written.
    try:
        yield Path(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


@contextlib.contextmanager
def alone(path):
    """Within, no other process reads and rewrites the file at `path`: scripts may run side by side."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        yield


def digest(*things: Any, length: int = 12) -> str:
    """A short name for JSON-able things: equal things, equal names."""
    text = json.dumps(things, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def sha256(path):
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
