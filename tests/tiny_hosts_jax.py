"""experiments/train_hosts_jax.py with hosts of a few channels, where TensorFlow cannot be imported.

With TINY_DIE=n in the environment, the process ends, as if killed, right after the n-th time the state was kept.
"""

import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"
sys.modules["tensorflow"] = None  # an import of it is an ImportError

from tiny_hosts import run  # noqa: E402

from watermark.jaxtraining import loop  # noqa: E402

if "TINY_DIE" in os.environ:
    kept, times = loop.Training.save, []

    def save_and_die(self):
        kept(self)
        times.append(self.step)
        if len(times) == int(os.environ["TINY_DIE"]):
            os._exit(9)

    loop.Training.save = save_and_die

run(Path(__file__).parents[1] / "experiments" / "train_hosts_jax.py")
