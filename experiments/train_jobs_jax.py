"""Makes the models that experiments/jobs.py wrote down, by Keras on JAX, without TensorFlow, until a deadline.

In --out each model leaves <name>.keras and <name>.json; a training that the deadline stopped leaves its state, and the
same command goes on. By the count of operations an embedding of 1,000 steps is seconds on an H100 (DnCNN, 32 patches:
0.17 TFLOP a step; not measured). Needs what train_hosts_jax.py needs.

    python experiments/train_jobs_jax.py --jobs=jobs --out=made --minutes=6
"""

import os
import sys
import time

from absl import app, flags, logging

FLAGS = flags.FLAGS


def define_flags():
    """The flags of this script."""
    flags.DEFINE_string("jobs", "jobs", "folder that experiments/jobs.py has written")
    flags.DEFINE_string("out", "made", "folder of models")
    flags.DEFINE_float("minutes", None, "after which the state is kept and the script ends", lower_bound=0.0)
    flags.DEFINE_string("data_dir", None, "folder of image sets; default is the environment's WATERMARK_DATA")
    flags.DEFINE_integer("chunk", 100, "steps in one dispatch", lower_bound=1)
    flags.DEFINE_float("save_every", 60.0, "seconds between two times of keeping the state")


def main(argv):
    """0 at the end and at the deadline; 2, with one line, for what a user can mend."""
    logging.set_verbosity(logging.WARNING)  # JAX tells of every kind of device that is not there
    if len(argv) > 1:
        print(f"error: unexpected argument {argv[1]!r}; flags look like --jobs=jobs", file=sys.stderr)
        return 2
    deadline = float("inf") if FLAGS.minutes is None else time.monotonic() + 60.0 * FLAGS.minutes
    try:
        from watermark.jaxtraining import jobs
        from watermark.jaxtraining.loop import Pace

        data_dir = FLAGS.data_dir or os.environ.get("WATERMARK_DATA")
        if not data_dir:
            raise ValueError("no image sets: pass --data_dir=DIR or set WATERMARK_DATA=DIR")
        os.makedirs(FLAGS.out, exist_ok=True)
        if not jobs.run(FLAGS.jobs, data_dir, FLAGS.out, Pace(FLAGS.chunk, FLAGS.save_every, deadline=deadline)):
            print("NOTE: not all models are made; the same command goes on")
    except ImportError as error:
        print(f"error: {error}; pip install -e .[gpu]", file=sys.stderr)
        return 2
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    os.environ["KERAS_BACKEND"] = "jax"
    define_flags()
    app.run(main)
