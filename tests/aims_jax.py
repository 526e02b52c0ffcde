"""Gradients of `watermark.jaxtraining.aims` for a question that a test has written down; TensorFlow cannot be imported.

    python tests/aims_jax.py FOLDER
"""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"
sys.modules["tensorflow"] = None  # an import of it is an ImportError

import jax.numpy as jnp  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402

from watermark.jaxtraining.aims import Mark  # noqa: E402
from watermark.recipes import Embedding  # noqa: E402

folder = Path(sys.argv[1])
asked = dict(np.load(folder / "asked.npz"))
model = keras.saving.load_model(folder / "model.keras")
weights = [jnp.array(v.value) for v in model.trainable_variables]


@dataclass
class Told:
    """A step whose draws are known."""

    number: int
    key: None = None

    def batch(self, stream=0):
        """The owner's, or the thief's."""
        return asked[f"X{stream}"], asked[f"Y{stream}"], jnp.ones(len(asked["X0"]))

    def uniform(self, stream):
        """Always the same."""
        return asked["uniform"]


def net(w, X):
    return model.stateless_call(w, [], X)[0]


aim = Mark(Embedding(**json.loads(str(asked["recipe"]))), asked["K"], asked["S"], weights, asked["others"],
           (asked["rivals_K"], asked["rivals_S"]))
memory, found = aim.memory(weights), {}
for number in range(3):
    loss, gradients, memory = aim.gradients(net, weights, memory, Told(number))
    found |= {f"{number}-{i}": g for i, g in enumerate(gradients)}
np.savez(folder / "found.npz", **found)
