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


def test_tensorflow_does_not_greet():
    """Nor when it is asked what devices there are, though a user wants some of its messages."""
    program = ("from watermark import quiet; quiet.import_tensorflow(); import tensorflow as tf; "
               "tf.config.list_physical_devices()")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True,
                          env={"TF_CPP_MIN_LOG_LEVEL": "2", "PATH": ""})
    assert not done.stderr
