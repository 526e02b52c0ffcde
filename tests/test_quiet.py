"""What is said where there is no terminal, and what is not."""

import subprocess
import sys

from watermark import quiet


def test_a_line_a_minute(monkeypatch, capsys):
    """Of ten steps the first two were made before; 30 s each, so that at 8 of 10 two are left, one minute."""
    now = [0.0]
    monkeypatch.setattr(quiet.time, "monotonic", lambda: now[0])
    lines = quiet.Lines("embedding", "step", 10, first=2)
    for step in range(3, 9):
        now[0] += 30.0
        lines.at(step, "task 1.5")
    assert capsys.readouterr().err.splitlines() == [
        "embedding: step 4 of 10, about 3 min left; task 1.5", "embedding: step 6 of 10, about 2 min left; task 1.5",
        "embedding: step 8 of 10, about 1 min left; task 1.5"]


def test_nothing_is_said_where_standard_error_is_closed():
    """As of programs without a terminal; nor is it said on standard output."""
    program = ("import sys; from watermark import quiet; "
               "lines = quiet.Lines('a', 'b', 3); lines.last -= 99; lines.at(2)\n"
               "with quiet.silence(): print(sys.stderr)")
    done = subprocess.run(["sh", "-c", 'exec "$0" "$@" 2>&-', sys.executable, "-c", program], stdout=subprocess.PIPE,
                          text=True, check=True)
    assert done.stdout == "None\n"


def test_tensorflow_does_not_greet():
    """Nor when it is asked what devices there are, though a user wants some of its messages."""
    program = ("from watermark import quiet; quiet.import_tensorflow(); import tensorflow as tf; "
               "tf.config.list_physical_devices()")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True,
                          env={"TF_CPP_MIN_LOG_LEVEL": "2", "PATH": ""})
    assert not done.stderr
