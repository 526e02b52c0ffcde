"""Files appear whole or not at all, whenever the process that writes them is killed. Oracle: the folder's listing."""

import contextlib
import errno
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from watermark import errors, files
from watermark.cli.results import fingerprint

CHILD = """
import os, signal, sys
from watermark import files
with getattr(files, sys.argv[1])(sys.argv[2], *map(eval, sys.argv[3:])) as path:
    if sys.argv[1] == "atomic_folder":
        path.mkdir()
        path = path / "part"
    path.write_text("half a secr")
    print("written", flush=True)
    sys.stdin.read()
"""


def _killed(*arguments):
    """A process that is killed while it writes."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, *map(str, arguments)], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, cwd=Path(__file__).parents[1])
    assert child.stdout.readline() == b"written\n"
    return child


def _kill(child):
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdin.close()
    child.stdout.close()


def test_a_killed_write_leaves_the_old_file_and_is_swept(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    child = _killed("atomic_write", path)
    with files.atomic_write(tmp_path / "b.txt") as temporary:  # the other is alive: its part is not touched
        temporary.write_text("b")
    assert len(list(tmp_path.glob(".part-*"))) == 1
    _kill(child)
    assert path.read_text() == "old" and len(list(tmp_path.glob(".part-*"))) == 1
    with files.atomic_write(path) as temporary:
        temporary.write_text("new")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a.txt": "new", "b.txt": "b"}


def test_text_is_written_as_utf_8_and_bytes_as_they_are(tmp_path):
    files.write(tmp_path / "a.txt", "ρ\n")
    files.write(tmp_path / "b", b"\r\n", mode=0o600, new=True)
    assert (tmp_path / "a.txt").read_bytes() == b"\xcf\x81\n" and (tmp_path / "b").read_bytes() == b"\r\n"
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        files.write(tmp_path / "b", b"", new=True)


def test_of_a_secret_no_part_is_left(tmp_path):
    _kill(_killed("atomic_write", tmp_path / "key.npz", "0o600"))
    assert list(tmp_path.iterdir()) == []
    for text in ("first", "second"):
        with files.atomic_write(tmp_path / "key.npz", mode=0o600) as temporary:
            temporary.write_text(text)
        assert [(p.name, p.read_text(), p.stat().st_mode & 0o777) for p in tmp_path.iterdir()] == [
            ("key.npz", text, 0o600)]
    with pytest.raises(IsADirectoryError), files.atomic_write(tmp_path, mode=0o600) as temporary:
        temporary.write_text("a folder has that name")
    assert len(list(tmp_path.iterdir())) == 1 and not list(tmp_path.parent.glob(".part-*"))


def test_where_files_need_names_secrets_are_written_too(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "O_TMPFILE")
    with files.atomic_write(tmp_path / "key.npz", mode=0o600) as temporary:
        assert temporary.stat().st_mode & 0o777 == 0o600
        temporary.write_text("secret")
    assert [p.read_text() for p in tmp_path.iterdir()] == ["secret"]


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_of_two_that_write_a_new_file_one_does(mode, tmp_path):
    with pytest.raises(FileExistsError, match="another process wrote it"), files.atomic_write(
            tmp_path / "key", mode=mode, new=True) as first:
        first.write_text("first")
        with files.atomic_write(tmp_path / "key", mode=mode, new=True) as second:
            second.write_text("second")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"key": "second"}
    assert (tmp_path / "key").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_without_hard_links_a_new_file_is_written_and_none_replaced(mode, tmp_path, monkeypatch):
    def none(*where, **how):
        raise OSError(errno.EPERM, "no hard links")

    monkeypatch.setattr(os, "link", none)
    with files.atomic_write(tmp_path / "key", mode=mode, new=True) as temporary:
        temporary.write_text("first")
    assert (tmp_path / "key").stat().st_mode & 0o777 == mode & ~files.UMASK
    with pytest.raises(FileExistsError), files.atomic_write(tmp_path / "key", mode=mode, new=True) as temporary:
        temporary.write_text("second")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"key": "first"}


@pytest.mark.parametrize("new", [False, True])
@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_file_is_on_the_disk_before_it_has_its_name(mode, new, tmp_path, monkeypatch):
    """Else a power cut might leave an empty file in the place of the old one."""
    seen = []

    def wrapped(name, real):
        def call(first, *rest, **how):
            seen.append((name, os.fstat(first).st_size if name == "fsync" else None))
            return real(first, *rest, **how)

        return call

    for name in ("fsync", "link", "replace"):
        monkeypatch.setattr(os, name, wrapped(name, getattr(os, name)))
    with files.atomic_write(tmp_path / "key", mode=mode, new=new) as temporary:
        temporary.write_text("a secret")
    assert seen[0] == ("fsync", 8) and {name for name, _ in seen[1:]} <= {"link", "replace"} and len(seen) > 1
    assert (tmp_path / "key").read_text() == "a secret"


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("new", [False, True])
@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_a_link_stays_one_and_its_file_is_written(mode, new, there, tmp_path):
    (tmp_path / "vault").mkdir()
    link, file = tmp_path / "key.npz", tmp_path / "vault" / "ada.npz"
    link.symlink_to("vault/ada.npz")
    if there:
        file.write_text("old")
    refused = pytest.raises(FileExistsError) if there and new else contextlib.nullcontext()
    with refused, files.atomic_write(link, mode=mode, new=new) as temporary:
        temporary.write_text("new")
    assert link.is_symlink() and file.read_text() == ("old" if there and new else "new")
    assert {path.name for path in tmp_path.rglob("*")} == {"vault", "key.npz", "ada.npz"}


def test_a_link_and_its_file_are_one_for_locks_and_folders(tmp_path):
    (tmp_path / "link").symlink_to("file")
    for path, other in (("link", "file"), ("file", "link")):
        with (files.exclusive(tmp_path / path, "busy"), pytest.raises(BlockingIOError, match="busy"),
              files.exclusive(tmp_path / other, "busy")):
            pass
    with files.locked(tmp_path / "link"):
        assert (tmp_path / ".file.lock").exists() and not (tmp_path / ".link.lock").exists()
    with files.atomic_folder(tmp_path / "link") as made:
        made.mkdir()
    assert (tmp_path / "link").is_symlink() and (tmp_path / "file").is_dir()


def _old(path):
    path.mkdir()
    (path / "weights").write_text("old")


def test_a_folder_is_there_until_the_new_one_is_complete(tmp_path, monkeypatch):
    path = tmp_path / "model"
    _old(path)
    _kill(_killed("atomic_folder", path))
    assert [p.name for p in path.iterdir()] == ["weights"]
    real, done = os.replace, []

    def fails_second(a, b):
        done.append(a)
        if len(done) == 2:
            raise OSError("disk full")
        real(a, b)

    monkeypatch.setattr(os, "replace", fails_second)
    with pytest.raises(OSError, match="disk full"), files.atomic_folder(path) as folder:
        folder.mkdir()
    assert [p.name for p in tmp_path.iterdir()] == ["model"] and (path / "weights").read_text() == "old"


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path):
    path = tmp_path / "model"
    _old(tmp_path / ".model.before")
    with pytest.raises(ZeroDivisionError), files.atomic_folder(path) as folder:
        folder.mkdir()
        raise ZeroDivisionError
    assert (path / "weights").read_text() == "old"
    with files.atomic_folder(path) as folder:
        folder.mkdir()
    assert list(path.iterdir()) == [] and list(tmp_path.iterdir()) == [path]


def test_what_is_no_plain_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(bytes(11))
    for name, why in (("pipe", "no plain file"), ("large", "11 bytes, more than 10"), (".", "no plain file")):
        with pytest.raises(OSError, match=why):
            files.content(tmp_path / name, 10)
    assert files.content(tmp_path / "large", 11) == bytes(11)


def test_the_door_keeps_its_promise_whatever_a_library_raises():
    import struct
    import zlib

    class Refused(errors.WatermarkError):
        """The door's own."""

    for raised in (zlib.error("bad"), RecursionError("deep"), OverflowError(), MemoryError(), NotImplementedError("no"),
                   struct.error("short"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), ValueError("a\nb\x1b[2J")):
        with pytest.raises(Refused, match=r"^key\.npz is damaged \(.+\)$") as caught, errors.raised_as(
                Refused, "key.npz is damaged"):
            raise raised
        assert str(caught.value).isprintable()
    with pytest.raises(Refused, match="^as it is$"), errors.raised_as(Refused, "another"):
        raise Refused("as it is")


def test_what_steers_a_terminal_is_spelt_out():
    assert errors.printable("a\x1b]0;x\x07\r\u202eb\ud800é\u4e2d\t\n") == (
        "a\\u001b]0;x\\u0007\\u000d\\u202eb\\ud800é\u4e2d\t\n")


def test_a_file_is_no_more_open_than_umask_and_what_was_there(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "UMASK", 0o077)
    for name, before in (("new", None), ("kept", 0o640)):
        if before is not None:
            (tmp_path / name).touch(before)
            (tmp_path / name).chmod(before)
        with files.atomic_write(tmp_path / name) as temporary:
            temporary.write_text("x")
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr(files, "UMASK", 0)
    (tmp_path / "kept").chmod(0o600)
    with files.atomic_write(tmp_path / "kept") as temporary:
        temporary.write_text("x")
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o600


def test_what_a_sparse_file_has_on_the_disk(tmp_path):
    """By hand: 4 KiB of zeros that are written, in 1 GiB of which the rest never is."""
    for name in ("a", "b"):
        with open(tmp_path / name, "wb") as file:
            file.truncate(1 << 30)
            file.write(bytes(1 << 12))
    assert files.on_disk(tmp_path / "a") in (1 << 12, 1 << 30)  # not every file system has holes
    assert files.on_disk(tmp_path) == 2 * files.on_disk(tmp_path / "a")
    (tmp_path / "c").write_bytes(b"12345")
    assert files.on_disk(tmp_path / "c") == 5


def test_a_fingerprint_is_of_what_counts_and_reads_no_more_than_it_may(tmp_path):
    """Oracle: the clock would be that of 16 TiB; SHA-256 of one line, by hashlib."""
    (tmp_path / "a.npy").write_bytes(b"1")
    with open(tmp_path / "notes.bin", "wb") as file:
        file.truncate(1 << 40)
    line = f"{hashlib.sha256(b'1').hexdigest()}  a.npy\n".encode()
    assert fingerprint(tmp_path, ["a.npy"], 1) == (hashlib.sha256(line).hexdigest(), 1)
    for path in (tmp_path, tmp_path / "notes.bin"):
        with pytest.raises(OSError, match="has 109951162777[67] bytes, more than 1000"):
            fingerprint(path, limit=1000)


@pytest.mark.parametrize("how", ["link", "line end"])
def test_a_folder_whose_files_cannot_be_told_has_no_fingerprint(how, tmp_path):
    """Behind a link to a folder lies what is not listed; a line end in a name hides other files' lines."""
    (tmp_path / "m").mkdir()
    (tmp_path / "elsewhere").mkdir()
    if how == "link":
        (tmp_path / "m" / "variables").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    else:
        (tmp_path / "m" / "a\nb").write_bytes(b"1")
    with pytest.raises(OSError, match="a link to a folder or no printable name"):
        fingerprint(tmp_path / "m")


def test_a_line_is_added_whole_or_not_at_all(tmp_path, monkeypatch):
    files.add_line(tmp_path / "new" / "log.jsonl", "one")
    monkeypatch.setattr(files.os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="No space"):
        files.add_line(tmp_path / "new" / "log.jsonl", "two")
    assert (tmp_path / "new" / "log.jsonl").read_text() == "one\n"
