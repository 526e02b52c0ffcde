"""Files that appear whole or not at all (atomic writes), and locks between processes."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

try:
    import fcntl
except ImportError:  # on Windows what a kill leaves behind stays
    fcntl = None

PART = ".part-"
UMASK = os.umask(0o077)  # it can be read by setting it only
os.umask(UMASK)


def target(path: str | Path) -> Path:
    """Where a file is: what a link leads to, so that a link stays one and has no lock of its own."""
    path = Path(path)
    return path.resolve() if path.is_symlink() else path


def check_place(path: str | Path, name: str) -> None:
    """Refuses, with a ValueError that names the flag, a path where nothing can be written; tried, with nothing left.

    What permissions say is not enough: to root they say yes on a disk that is read-only, and in /proc.
    """
    there = next(parent for parent in target(path).absolute().parents if os.path.exists(parent))
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise ValueError(f"{name} cannot be written: {there} is no folder that you may write to "
                         f"({os.strerror(error.errno)})") from error


@contextlib.contextmanager
def atomic_write(path: str | Path, mode: int = 0o644, new: bool = False) -> Iterator[Path]:
    """Yields a temporary path beside `path` that takes its place on success; of a link, what it leads to is written.

    Its permissions are `mode` less the process's umask, and never more than those of the file that was there.

    After an error, or a kill at any moment, `path` is what it was before. With `new`, nothing is ever replaced: of
    several processes that write one path, one does, and the others get a FileExistsError. What a killed process left is
    removed at the next write into the folder; of a file that is for its owner only, no part is left.
    """
    path = target(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    with _on(path), (_named if mode & 0o077 else _nameless)(path, new) as (temporary, put_in_place):
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, _permitted(path, mode))
        put_in_place()


def write(path: str | Path, data: str | bytes, mode: int = 0o644, new: bool = False) -> None:
    """Writes a file whole or not at all, as `atomic_write` does; text as UTF-8."""
    with atomic_write(path, mode, new) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


@contextlib.contextmanager
def _on(path):
    """Within, a disk that is full is said to be that of `path`: a descriptor has no name to give."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise


def _permitted(path, mode):
    return mode & ~UMASK & (stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o777)


@contextlib.contextmanager
def _named(path, new=False):
    """(temporary path, what puts it in place)."""
    # The suffix stays last: Keras and numpy look at it. mkstemp makes it 0600.
    temporary, handle = _held(lambda: tempfile.mkstemp(prefix=PART, suffix=path.suffix, dir=path.parent))
    try:
        yield Path(temporary), lambda: (_link if new else os.replace)(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        os.close(handle)


@contextlib.contextmanager
def _nameless(path, new):
    """As `_named`, for a file that has no name until it is complete, so that a kill leaves nothing of it."""
    try:
        handle = os.open(path.parent, os.O_TMPFILE | os.O_RDWR, 0o600)
    except (AttributeError, OSError):  # not every system and file system can
        with _named(path, new) as pair:
            yield pair
        return
    _lock(handle)  # for the instant in which it has a part's name
    there = f"/proc/self/fd/{handle}"

    def put_in_place():
        if new:
            return _link(there, path, handle)
        with _named(path) as (temporary, replace):  # its name is taken over: link() never replaces
            os.unlink(temporary)
            _link(there, temporary, handle)
            return replace()

    try:
        yield Path(there), put_in_place
    finally:
        os.close(handle)


def _link(temporary, path, handle=None):
    """Gives a finished file its name, unless the name is taken."""
    try:
        os.link(temporary, path, src_dir_fd=handle)  # with a descriptor it is linkat(), which follows /proc
    except FileExistsError:
        raise FileExistsError(f"{path} exists by now, another process wrote it; it is not overwritten") from None
    except OSError:  # a file system without hard links: as exclusive, though not whole after a kill
        mode = os.stat(temporary).st_mode & 0o777
        with open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(Path(temporary).read_bytes())


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yields the path of a folder to be made, which then takes the place of the one at `path`.

    The old one is there until the new one is complete. Killed in the instant between two renames, it is beside under
    another name, and the next call puts it back.
    """
    path = target(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    kept = path.with_name(f".{path.name}.before")
    if kept.exists() and not path.exists():
        os.replace(kept, path)
    temporary, handle = _held(lambda: (None, tempfile.mkdtemp(prefix=PART, dir=path.parent)))
    made = Path(temporary) / path.name
    try:
        yield made
        if path.exists():
            shutil.rmtree(kept, ignore_errors=True)
            os.replace(path, kept)
        try:
            os.replace(made, path)
        except OSError:
            if kept.exists():
                os.replace(kept, path)
            raise
        shutil.rmtree(kept, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(handle)


def _held(make):
    """(path, descriptor that holds it) of what `make` makes, (descriptor or None, path), until no `_sweep` took it."""
    while True:
        handle, path = make()
        handle = os.open(path, os.O_RDONLY) if handle is None else handle
        _lock(handle)
        if os.path.exists(path):
            return path, handle
        os.close(handle)


def _lock(handle, *, wait=True):
    """Whether this process now holds the open file; the system lets go of it when the process ends, however."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except (AttributeError, OSError):  # somebody else holds it; or nobody can, on such a system
        return False
    return True


def add_line(path: str | Path, line: str) -> None:
    """Adds a line to a file, made where there is none, with its folders: all of it or nothing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as file:
        before = file.seek(0, os.SEEK_END)
        try:
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            os.truncate(path, before)
            raise


def _sweep(folder):
    """Removes what killed processes left in a folder: parts that nobody holds any more."""
    for part in Path(folder).glob(f"{PART}*"):
        with contextlib.suppress(OSError):
            handle = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if _lock(handle, wait=False):
                    shutil.rmtree(part) if part.is_dir() else part.unlink()
            finally:
                os.close(handle)


@contextlib.contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Within, no other process reads and rewrites the file at `path`; scripts may run side by side."""
    path = target(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        yield


def digest(*things: Any, length: int = 12) -> str:
    """A short name for JSON-able things: equal things, equal names."""
    text = json.dumps(things, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


@contextlib.contextmanager
def exclusive(path: str | Path, busy: str) -> Iterator[None]:
    """Within, no other process is within for the same `path`; a BlockingIOError with the text `busy` if one is."""
    path = target(path)
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


def content(path: str | Path, limit: int) -> bytes:
    """The bytes of a file of at most `limit`; an OSError for a larger one, and for what is no plain file.

    Opening a FIFO would wait for ever.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(f"{path} is no plain file")
    if found.st_size > limit:
        raise OSError(f"{path} has {found.st_size} bytes, more than {limit}")
    return Path(path).read_bytes()


def on_disk(path: str | Path) -> int:
    """Bytes of data that a file, or the files of a folder, have; the holes of sparse ones are none."""
    path = Path(path)
    if path.is_dir():
        return sum(on_disk(file) for file in path.rglob("*") if file.is_file())
    end = path.stat().st_size
    if not hasattr(os, "SEEK_DATA"):
        return end
    data = place = 0
    with open(path, "rb") as file, contextlib.suppress(OSError):  # where the rest is one hole
        while place < end:
            start = os.lseek(file.fileno(), place, os.SEEK_DATA)
            place = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            data += place - start
    return data


def sha256(path: str | Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
