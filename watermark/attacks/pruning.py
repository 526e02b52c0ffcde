"""Compression by magnitude pruning (section V-E2, after Han et al., NIPS 2015)."""

from __future__ import annotations

import keras
import numpy as np

from watermark.attacks.base import Attack, Thief, attack, knob
from watermark.errors import ModelError
from watermark.training import clone


def prune(model: keras.Model, rate: float) -> keras.Model:
    """A copy of `model` with the smallest weights of each convolution kernel set to 0.

    Args:
      model: a Keras model.
      rate: share of each kernel's weights, on [0, 1]; floor(rate * size) of them go, by magnitude, ties by index.
        Biases and batch norm are exempt.

    Raises:
      ModelError: none of its weights is called a kernel, so that nothing would be pruned.
    """
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"expected a pruning rate on [0, 1], got {rate}")
    pruned = clone(model)
    # A thief need not keep frozen what its owner froze.
    kernels = [variable for variable in pruned.variables if variable.path.endswith("kernel")]
    if not kernels:
        raise ModelError(f"{model.name} has no weights called kernel, which is what is pruned; layers of your own call "
                         "theirs so by add_weight(name='kernel')")
    for kernel in kernels:
        kernel.assign(_pruned(np.array(kernel), rate))
    return pruned


def _pruned(kernel, rate):
    flat = kernel.ravel()
    count = int(np.floor(rate * flat.size + 1e-9))  # .35 * 20 is 6.999… in binary
    flat[np.argsort(np.abs(flat), kind="stable")[:count]] = 0.0
    return flat.reshape(kernel.shape)


@attack("prune")
class Prune(Attack):
    """Magnitude pruning."""

    rate: float = knob(help="share of each kernel's weights", low=0.0, high=1.0, cli=0.3, none=0.0)

    @property
    def label(self) -> str:
        """The attack in a few words, with its rate."""
        return f"{self.rate:.0%} pruned"

    def __call__(self, model: keras.Model, thief: Thief) -> keras.Model:
        """The pruned copy."""
        return prune(model, self.rate)
