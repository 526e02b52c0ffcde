"""What a terminal sees of a command: its own words, one line for an error, no control characters, no libraries' noise.

A verb that does everything wrong stands in for those that would need a network to do so.
"""

import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from watermark import cli
from watermark.cli import common, helping

NOISY = '''"""watermark noisy"""
import hashlib, logging, os, sys, time, warnings
from absl import flags

def define(values):
    flags.DEFINE_string("end", "well", "how it ends", flag_values=values)

def run(values):
    os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\\n")
    warnings.warn("numpy: invalid value")
    logging.getLogger("PIL").error("corrupt EXIF")
    print("the owner is Eve\\x1b[2J\\u202e")
    print("1 of 3 done", file=sys.stderr, flush=True)
    if values.end == "badly":
        raise ValueError("the server said\\x1b]0;owned\\x07\\r\\nand more")
    if values.end == "long":
        print("and more\\n" * 100_000)
    if values.end == "quietly":
        sys.exit(0)
    if values.end == "late":
        time.sleep(60)
    if values.end == "never":
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
'''
PROGRAM = f"""
import signal, sys, types
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has those that it runs in the background ignore it
from watermark import cli
module = types.ModuleType("watermark.cli.noisy", "watermark noisy")
exec({NOISY!r}, module.__dict__)
sys.modules[module.__name__] = module
cli.VERBS["noisy"] = ""
sys.exit(cli.main(sys.argv[1:]))
"""
SAID = "the owner is Eve\\u001b[2J\\u202e\n"


@pytest.fixture
def noisy(monkeypatch):
    """The verb "noisy"."""
    module = types.ModuleType("watermark.cli.noisy", "watermark noisy")
    exec(NOISY, module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(cli.VERBS, "noisy", "")


@pytest.mark.parametrize(("end", "code", "error"), [
    ("well", 0, ""), ("badly", 2, "error: the server said\\u001b]0;owned\\u0007 and more\n"),
    ("quietly", 2, "error: SystemExit: it calls sys.exit(0) (WATERMARK_DEBUG=1 shows where)\n")])
def test_only_own_words(end, code, error, noisy, capfd):
    assert cli.main(["noisy", f"--end={end}"]) == code
    assert capfd.readouterr() == (SAID, "1 of 3 done\n" + error)
    os.write(2, b"afterwards all is as before")
    assert capfd.readouterr() == ("", "afterwards all is as before")


def test_debugging_shows_everything(noisy, capfd, monkeypatch):
    monkeypatch.setenv("WATERMARK_DEBUG", "1")
    with pytest.warns(UserWarning):
        assert cli.main(["noisy", "--end=badly"]) == 2  # 1 would be a verdict
    err = capfd.readouterr().err
    assert "XNNPACK" in err and "Traceback" in err and "\x1b" not in err, err
    assert err.endswith("error: the server said\\u001b]0;owned\\u0007 and more\n")


def test_a_process_that_is_told_to_end_says_so_in_a_line():
    child = subprocess.Popen([sys.executable, "-c", PROGRAM, "noisy", "--end=late"], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1],
                             env=os.environ | {"PYTHONUNBUFFERED": "1"})
    assert child.stdout.readline() == SAID
    assert child.stderr.readline() == "1 of 3 done\n"
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=30)
    assert child.returncode == 128 + signal.SIGTERM and out == ""
    assert err == "stopped\n"  # nothing is kept, and nothing goes on


@pytest.mark.parametrize("verb", cli.VERBS)
def test_who_is_stopped_is_told_to_go_on_where_something_is_kept(verb, capsys, monkeypatch):
    """By the verbs whose help says "Killed, the same command", or that train."""
    monkeypatch.setattr(cli, "_verb", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert cli.main([verb]) == 128 + signal.SIGINT
    goes_on = "Killed, the same command" in helping.text(verb) or verb == "attack"
    assert capsys.readouterr().err == ("stopped; the same command goes on with what it has kept\n" if goes_on else
                                       "stopped\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_what_never_comes_back_to_python(number):
    """A digest of two billion rounds stands in for a model without end: in C, which hears no first signal."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM, "noisy", "--end=never"], stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as child:
        try:
            assert child.stderr.readline() == "1 of 3 done\n"
            time.sleep(1.0)  # until it is in C
            child.send_signal(number)
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(0.5)
            child.send_signal(number)
            assert child.wait(60) == 128 + number
        finally:
            child.kill()


@pytest.mark.parametrize(("out", "why"), [("folder.keras", "is a folder"), ("m.npz", "ends in .keras"),
                                          ("file/m.keras", "is no folder that you may write to")])
def test_out_is_looked_at_before_the_training(out, why, tmp_path):
    (tmp_path / "folder.keras").mkdir()
    (tmp_path / "file").write_text("")
    common.check_out(tmp_path / "new" / "m.keras", ".keras")
    with pytest.raises(ValueError, match=why):
        common.check_out(tmp_path / out, ".keras")


def test_verdicts_are_broken_at_the_terminals_width_and_nowhere_else(monkeypatch):
    command = f"  {common.COMMAND}watermark verify {'--suspect=m.keras ' * 9}"
    text = f"FOUND: {'some words ' * 20}\n  {'and more ' * 20}\n{command}"
    assert common.fitted(text) == text  # pytest's stdout is no terminal
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    lines = common.fitted(text).split("\n")
    assert lines.pop() == command and len(lines) > 6 and max(map(len, lines)) <= 60
    assert all(line.startswith("  ") for line in lines[1:]) and " ".join(" ".join(lines).split()) == " ".join(
        text.removesuffix(command).split())


@pytest.mark.parametrize("end", ["long", "well"])  # nobody reads on; nobody has begun to
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_nobody_reads_any_more_is_a_quiet_end(end, unbuffered):
    """As other programs end by SIGPIPE."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", PROGRAM, "noisy", f"--end={end}"], stdout=writer, text=True,
                          stderr=subprocess.PIPE, cwd=Path(__file__).parents[1],
                          env=os.environ | {"PYTHONUNBUFFERED": unbuffered})
    os.close(writer)
    assert done.returncode == 128 + signal.SIGPIPE and done.stderr in ("", "1 of 3 done\n")


@pytest.mark.parametrize("arguments", [["noisy"], ["noisy", "--end=long"], ["--version"], ["verify", "--help"]])
def test_a_full_disk_is_an_error(arguments):
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], stdout=full, text=True,
                              stderr=subprocess.PIPE, cwd=Path(__file__).parents[1])
    assert done.returncode == 2 and done.stderr.endswith("error: No space left on the disk; free some, and try again\n")
    assert done.stderr.count("error") == 1
