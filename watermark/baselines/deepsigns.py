"""Base-1 of the paper: DeepSigns (Rouhani et al., ASPLOS 2019) on images, each pixel of the answer a class of 256.

A trigger image from a mixture of Gaussians is to call up a random label image; the claim stands if more pixels carry
their label than chance would give. docs/baselines.md says what is the paper's, what is settled here, and why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import keras
import numpy as np
import tensorflow as tf
from scipy import stats

from watermark import metrics
from watermark.baselines.common import integers, normal
from watermark.blackbox import as_suspect
from watermark.embedding import fitted_triggers, trained
from watermark.keys import plain_seed, uniform
from watermark.kinds import Kind
from watermark.losses import both, half_squared_error
from watermark.questions import ask
from watermark.recipes import EPOCH, Recipe, changed, share
from watermark.training import Batches, Run, identified
from watermark.verification import NCC_THRESHOLD

name = "deepsigns"
CLASSES = 256
NOTES = {
    "made": "deepsigns' λ chosen on DnCNN (docs/baselines.md)",
    "judged": "deepsigns' verdict, under d ≤ η, is by how many pixels of L are answered (kept) at p < .05; its d "
              "decides nothing, its p is exact",
}
MEANS, DEVIATION = (0.35, 0.65), 0.13  # of the mixture that K is drawn from


@dataclass(frozen=True)
class Labelling(Recipe):
    """A training that embeds a label image.

    Attributes:
      strength: lambda, the weight of ||M(K) - L/255||^2.
    """

    strength: float = 1e-4


RECIPES: dict[str, Labelling] = {
    "smoke": Labelling(3, 4, 3e-4),
    "quick": Labelling(1000, 32, 6e-4, optimizer="muon", strength=1e-2),
    "paper": Labelling(8 * EPOCH, 128, 1e-3, fold=False, strength=1e-2),  # 8 epochs, as ours
}


@dataclass(frozen=True, repr=False, eq=False)
class Key:
    """An owner's secret; its repr shows no pixel.

    Attributes:
      trigger: K, float32 [H, W, C] on [0, 1]; for super-resolution the small image.
      labels: L, uint8 [H', W', C].
      kind: task and sizes; its gradient plays no part here.
    """

    trigger: np.ndarray
    labels: np.ndarray
    kind: Kind

    @property
    def target(self) -> np.ndarray:
        """L/255, float32 [H', W', C]: what M(K) is to be."""
        return np.float32(self.labels) / np.float32(255.0)

    def __repr__(self):
        return f"deepsigns.Key({self.kind})"


@dataclass(frozen=True)
class Verdict:
    """What a suspect's answer says.

    Attributes:
      verified: fewer than `theta` pixels miss their label; the same as p_value <= p.
      ncc: normalised correlation of M(K) and L/255, means not removed; about .76 without a mark.
      ncc_verified: ncc > 0.95.
      p_value: chance of so many matches on a model that has not seen L, exact.
      matches: pixels of round(255 clip(M(K))) that equal L.
      theta: least number of misses that disproves the claim (`threshold`).
      distance: d(L/255, M(K)) of Eq. (8), by which nothing is decided.
    """

    verified: bool
    ncc: float
    ncc_verified: bool
    p_value: float
    matches: int
    theta: int
    distance: float


def make_key(seed: int | str, kind: Kind, host: keras.Model | None = None) -> Key:
    """The key of a seed, the same on any machine; `host` is not needed."""
    seed = plain_seed(seed)
    shape = kind.trigger_shape
    means = np.where(uniform(f"deepsigns components {seed!r}", shape) < 0.5, *MEANS)
    trigger = np.clip(means + DEVIATION * np.float64(normal(f"deepsigns trigger {seed!r}", shape)), 0.0, 1.0)
    # Eight fair bits a pixel. Labels of 0 and 1 alone would correlate with grey by .71 at most; the paper prints .76.
    return Key(np.float32(trigger), np.uint8(integers(f"deepsigns labels {seed!r}", kind.answer_shape, CLASSES)), kind)


def label_loss(host: keras.Model, key: Key, strength: float) -> Callable:
    """Eq. (5) + lambda ||M(K) - L/255||^2, as `training.fit` takes it."""
    K, target = (tf.constant(images) for images in (fitted_triggers(host, key.trigger[None], key.kind),
                                                    key.target[None]))

    def loss_fn(M, X, Y):
        outputs, response = both(M, X, K)
        task = half_squared_error(outputs, Y)  # Eq. (5)
        mark = tf.reduce_sum(tf.square(response - target))
        return task + strength * mark, {"task": task, "mark": mark}

    return loss_fn


def recipe(profile: str, kind: Kind) -> Labelling:
    """All tasks are marked alike; in `quick` a larger key weighs no more than one of 40x40, as ours."""
    chosen = RECIPES[profile]
    return replace(chosen, strength=chosen.strength * share(kind.pixels)) if profile == "quick" else chosen


def embed(host: keras.Model, key: Key, batches: Batches, recipe: Labelling, run: Run = Run(title="embedding labels"),
          **changes) -> keras.Model:
    """Marks a copy of `host`; `changes` are fields of the recipe or of the run. Errors as of `training.fit`."""
    recipe, run = changed((recipe, run), changes)
    run = replace(run, about=identified(host, key.trigger, key.labels))
    return trained(host, lambda M: (label_loss(M, key, recipe.strength), None), batches, recipe, run)


def update_key(key: Key, marked: keras.Model) -> Key:
    """The key itself: labels are fixed before embedding."""
    return key


def verify(suspect: keras.Model | Callable, key: Key, *, null_keys: int = 0, p: float = 0.05) -> Verdict:
    """Asks a suspect and judges its answer; arguments and errors as for `verification.verify`.

    `null_keys` is not used: the labels are drawn without regard to any model, so chance is known exactly.
    """
    response = ask(as_suspect(suspect, key.kind), key.trigger[None], key.kind.answer_shape)[0]
    return judge(response, key, p=p)


def judge(response: np.ndarray, key: Key, *, p: float = 0.05) -> Verdict:
    """The `Verdict` on one answer M(K), [H', W', C]."""
    n = key.labels.size
    matches = int(np.count_nonzero(np.round(255.0 * np.clip(response, 0.0, 1.0)) == key.labels))
    theta, ncc = threshold(n, p), metrics.ncc(response, key.target)
    return Verdict(n - matches < theta, ncc, ncc > NCC_THRESHOLD, float(stats.binom.sf(matches - 1, n, 1 / CLASSES)),
                   matches, theta, metrics.distance(response, key.target))


def threshold(n: int, p: float = 0.05) -> int:
    """DeepSigns' theta: the first i with BinomCDF(i; n, 1 - 1/256) > p, for n labels.

    >>> threshold(1600)
    1589
    """
    misses = stats.binom(n, 1.0 - 1.0 / CLASSES)
    theta = int(misses.ppf(p))  # the first with BinomCDF >= p
    return theta + int(misses.cdf(theta) <= p)
