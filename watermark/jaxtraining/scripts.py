"""What the scripts that train on JAX share: some flags, and how they end. JAX is imported within, when time runs."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from absl import flags, logging

from watermark.errors import lack

FLAGS = flags.FLAGS


def define_flags(out: str) -> None:
    """Where and how long; `out` is the default of the flag of that name."""
    flags.DEFINE_float("minutes", None, "after which the state is kept and the script ends", lower_bound=0.0)
    flags.DEFINE_string("out", out, "folder of states, courses and models")
    flags.DEFINE_string("data_dir", None, "folder of image sets; default is the environment's WATERMARK_DATA")
    flags.DEFINE_integer("chunk", 100, "steps in one dispatch", lower_bound=1)
    flags.DEFINE_float("save_every", 60.0, "seconds between two times of keeping the state")


def run(argv: list[str], train: Callable[[str, float], bool], example: str, things: str) -> int:
    """Trains; 0 at the end and at the deadline; 2, with one line, for what a user can mend.

    Args:
      argv: what is left of the command line.
      train: (folder of image sets, `time.monotonic()` of the deadline) -> whether all `things` are done.
      example: a flag as it should look.
      things: what may be left, in a clause.
    """
    logging.set_verbosity(logging.WARNING)  # JAX tells of every kind of device that is not there
    if len(argv) > 1:
        print(f"error: unexpected argument {argv[1]!r}; flags look like {example}", file=sys.stderr)
        return 2
    deadline = float("inf") if FLAGS.minutes is None else time.monotonic() + 60.0 * FLAGS.minutes
    try:
        data_dir = FLAGS.data_dir or os.environ.get("WATERMARK_DATA")
        if not data_dir:
            raise ValueError("no image sets: pass --data_dir=DIR or set WATERMARK_DATA=DIR")
        if not train(data_dir, deadline):
            print(f"NOTE: not all {things}; the same command goes on")
    except KeyboardInterrupt:
        print("stopped; the same command goes on from the state that was kept last", file=sys.stderr)
        return 130
    except ImportError as error:
        print(f"error: {error}; pip install -e .[gpu]", file=sys.stderr)
        return 2
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Exception as error:  # whatever JAX calls a lack of memory
        if not (words := lack(error)):
            raise
        print(f"error: {words}", file=sys.stderr)
        return 2
    return 0
