"""experiments/train_hosts_jax.py with hosts of a few channels, where TensorFlow cannot be imported.

With TINY_DIE=n in the environment, the process ends, as if killed, right after the n-th time the state was kept.
"""

import dataclasses
import os
import runpy
import sys
from functools import partial
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"
sys.modules["tensorflow"] = None  # an import of it is an ImportError

from watermark import hosts  # noqa: E402
from watermark.jaxtraining import loop  # noqa: E402

BUILDERS = {"dncnn": partial(hosts.dncnn, 4), "red": partial(hosts.red, 5), "vdsr": partial(hosts.vdsr, 4),
            "srdncnn": partial(hosts.dncnn, 4, name="srdncnn")}
for name, build in BUILDERS.items():
    hosts.HOSTS[name] = dataclasses.replace(hosts.HOSTS[name], build=partial(build, filters=16))

if "TINY_DIE" in os.environ:
    kept, times = loop.Training.save, []

    def save_and_die(self):
        kept(self)
        times.append(self.step)
        if len(times) == int(os.environ["TINY_DIE"]):
            os._exit(9)

    loop.Training.save = save_and_die

runpy.run_path(str(Path(__file__).parents[1] / "experiments" / "train_hosts_jax.py"), run_name="__main__")
