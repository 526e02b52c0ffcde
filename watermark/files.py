"""Files that appear whole or not at all."""

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout


@contextlib.contextmanager
def whole(path, mode=0o644, new=False):
    """Yields a temporary path beside `path` that takes its place, with permissions `mode`, on success.

    After an error, or a kill at any moment, `path` is what it was before. With `new`, nothing is ever replaced: of
    several processes that write one path, one does, and the others get a FileExistsError.
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
        if new:
            _link(temporary, path)
        else:
            os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _link(temporary, path):
    """Gives a finished file its name, unless the name is taken."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise FileExistsError(f"{path} exists by now, another process wrote it; it is not overwritten") from None
    except OSError:  # a file system without hard links: as exclusive, though not whole after a kill
        mode = os.stat(temporary).st_mode & 0o777
        with open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(Path(temporary).read_bytes())


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


@contextlib.contextmanager
def only_one(path, busy):
    """Within, no other process is within for the same `path`; a BlockingIOError with the text `busy` if one is."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.with_name(f".{path.name}.lock")
    lock = FileLock(name)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise BlockingIOError(busy) from None
    try:
        yield
    finally:
        name.unlink(missing_ok=True)
        lock.release()


def sha256(path):
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def fingerprint(path):
    """(SHA-256, bytes) of a file; of a folder, over the names and SHA-256 of all files in it, and their sum."""
    path = Path(path)
    if not path.is_dir():
        return sha256(path), path.stat().st_size
    files = sorted(file for file in path.rglob("*") if file.is_file())
    lines = "".join(f"{sha256(file)}  {file.relative_to(path).as_posix()}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest(), sum(file.stat().st_size for file in files)
