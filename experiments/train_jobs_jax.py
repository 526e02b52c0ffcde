"""Makes the models that experiments/jobs.py wrote down, by Keras on JAX, without TensorFlow, until a deadline.

In --out each model leaves <name>.keras and <name>.json; a training that the deadline stopped leaves its state, and the
same command goes on. By the count of operations an embedding of 1,000 steps is seconds on an H100 (DnCNN, 32 patches:
0.17 TFLOP a step; not measured). Needs what train_hosts_jax.py needs.

    python experiments/train_jobs_jax.py --jobs=jobs --out=made --minutes=6
"""

import os

from absl import app, flags

from watermark.jaxtraining import scripts
from watermark.several import parse

FLAGS = flags.FLAGS


def define_flags():
    """The flags of this script."""
    flags.DEFINE_string("jobs", "jobs", "folder that experiments/jobs.py has written")
    scripts.define_flags(out="made")


def train(data_dir, deadline):
    """Makes the models; whether all are made."""
    from watermark.jaxtraining import jobs
    from watermark.jaxtraining.loop import Pace

    os.makedirs(FLAGS.out, exist_ok=True)
    return jobs.run(FLAGS.jobs, data_dir, FLAGS.out, Pace(FLAGS.chunk, FLAGS.save_every, deadline=deadline))


def main(argv):
    """0 at the end and at the deadline; 2, with one line, for what a user can mend."""
    return scripts.run(argv, train, "--jobs=jobs", "models are made")


if __name__ == "__main__":
    os.environ["KERAS_BACKEND"] = "jax"
    define_flags()
    app.run(main, flags_parser=lambda argv: parse(argv, __doc__, scripts.__name__))
