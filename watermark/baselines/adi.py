"""Base-2 of the paper: Adi et al. (USENIX Security 2018), the host made a classifier by a random projection.

Forty abstract pictures are to be classified as their owner says, by a layer of a fixed random projection and softmax on
top of the network; the claim stands if more labels are matched than chance would give. docs/baselines.md says what is
the paper's, what is settled here, and why.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import keras
import numpy as np
import tensorflow as tf
from scipy import stats

from watermark import metrics
from watermark.baselines.common import integers, normal
from watermark.baselines.pictures import abstract_pictures
from watermark.blackbox import as_suspect
from watermark.embedding import fitted_triggers, numbered, trained
from watermark.keys import plain_seed
from watermark.kinds import Kind
from watermark.losses import both, half_squared_error
from watermark.questions import ask
from watermark.recipes import EPOCH, Recipe, changed
from watermark.training import Batches, Run, identified
from watermark.verification import NCC_THRESHOLD

name = "adi"
CLASSES = 256
PICTURES = 40
NOTES = {
    "made": "adi's λ chosen on DnCNN in 300 steps, 4 of its 40 pictures shown a step, of 480x480 pixels 2, of 600x600 "
            "1 (docs/baselines.md)",
    "judged": "adi's verdict is by how many of its 40 labels are answered (kept), 2 at p < .05, exact; its strict rule "
              "asks for 36",
}
STRICT = 36  # correct labels that Adi et al.'s own rule asks for: nearly all
BLOCK = 1 << 24  # entries of P that are held at once where all are not needed
PIXELS = 1 << 18  # pixels that go through the network at once when labels are counted
TOGETHER = 1 << 19  # and when they are learnt: four pictures of 600x600 take 25 GB in DnCNN, one 6
SHARPNESS = 10.0  # of the softmax; see `logits`
LEAD = 0.5  # by which a label must lead when they are counted: the step taken then, and bfloat16, must not undo it


@dataclass(frozen=True)
class Classifying(Recipe):
    """A training that embeds forty labels.

    Attributes:
      strength: lambda, the weight of the cross-entropy of one picture.
      shown: pictures a step, a divisor of 40, each standing for 40 / shown of them; of large ones fewer, `TOGETHER`.
      stop: whether training ends once all forty labels are matched.
    """

    strength: float = 1e-3
    shown: int = 4
    stop: bool = True

    def __post_init__(self):
        super().__post_init__()
        if not 1 <= self.shown <= PICTURES or PICTURES % self.shown:
            raise ValueError(f"expected shown to be a divisor of {PICTURES}, got {self.shown}")


RECIPES: dict[str, Classifying] = {
    "smoke": Classifying(3, 4, 3e-4),
    "quick": Classifying(1000, 32, 6e-4, optimizer="muon", stop=False),
    "paper": Classifying(8 * EPOCH, 128, 1e-3, fold=False, stop=False),  # 8 epochs, as ours
}


@dataclass(frozen=True, repr=False, eq=False)
class Key:
    """An owner's secret; its repr shows nothing of it.

    Attributes:
      pictures: uint8 [40, H, W, C]; for super-resolution the small images.
      labels: uint8 [40].
      seed: what P is drawn from, row by row, when it is needed (`projection`).
      kind: task and sizes; its gradient plays no part here.
    """

    pictures: np.ndarray
    labels: np.ndarray
    seed: int | str
    kind: Kind

    @property
    def triggers(self) -> np.ndarray:
        """The pictures on [0, 1], float32 [40, H, W, C]."""
        return np.float32(self.pictures) / np.float32(255.0)

    def __repr__(self):
        return f"adi.Key({self.kind})"


@dataclass(frozen=True)
class Verdict:
    """What a suspect's answers say.

    Attributes:
      verified: p_value < p, which at .05 is two labels of forty.
      ncc: normalised correlation of the labels' 8-bit code words, found and asked for; about .50 without a mark.
      ncc_verified: ncc > 0.95.
      p_value: chance of so many correct labels on a model that has not seen them, exact.
      correct: labels of forty that are matched.
      strict: correct >= 36, as Adi et al. would have it.
    """

    verified: bool
    ncc: float
    ncc_verified: bool
    p_value: float
    correct: int
    strict: bool


def make_key(seed: int | str, kind: Kind, host: keras.Model | None = None) -> Key:
    """The key of a seed, the same on any machine.

    Args:
      seed: an int or a str; whoever knows it has the key.
      kind: task and sizes.
      host: the unmarked network; no picture is given the label that it would have there anyway. None: labels as drawn.
    """
    seed = plain_seed(seed)

    def labels(attempt):
        return integers(f"adi labels {attempt} {seed!r}", (PICTURES,), CLASSES)

    key = Key(abstract_pictures(seed, kind, PICTURES), np.uint8(labels(0)), seed, kind)
    if host is None:
        return key
    taken, found = classify(host, key), labels(0)
    for attempt in itertools.count(1):
        if not (found == taken).any():
            return Key(key.pictures, np.uint8(found), seed, kind)
        found = np.where(found == taken, labels(attempt), found)


def projection(seed: int | str, pixels: int, block: int = BLOCK) -> Iterator[np.ndarray]:
    """P ~ N(0, 1), [256, pixels], float32: blocks of rows, at most `block` entries or one row each."""
    rows = max(1, block // pixels)
    for first in range(0, CLASSES, rows):
        yield np.stack([normal(f"adi projection {row} {seed!r}", (pixels,))
                        for row in range(first, min(first + rows, CLASSES))])


def logits(responses: np.ndarray, seed: int | str) -> np.ndarray:
    """10 P M(x) / sqrt(pixels) of images [N, ...], float64 [N, 256]; by chance of deviation 10 rms(M(x)), about 5.

    The root makes the softmax as sharp for large pictures as for small ones. P M(x) itself is about 22 at 40x40 and
    330 at 600x600, where a label that leads by a hundredth has the whole probability and nothing makes it safer. The
    10 lets the labels that lead rest, for those that do not: with 1, one that leads by its deviation still has a
    probability of a few hundredths, and the loss pushes all forty alike.
    """
    flat = np.reshape(responses, (len(responses), -1))
    scores = np.concatenate([flat @ block.T for block in projection(seed, flat.shape[1])], axis=1)
    return SHARPNESS * scores / np.sqrt(flat.shape[1])


def classify(suspect: keras.Model | Callable, key: Key) -> np.ndarray:
    """The class that a suspect, with the key's layer on top, gives each picture: int64 [40] on 0 ... 255."""
    suspect = as_suspect(suspect, key.kind)
    return np.argmax(logits(ask(suspect, key.triggers, key.kind.answer_shape), key.seed), axis=1)


def class_loss(host: keras.Model, key: Key, recipe: Classifying) -> Callable:
    """Eq. (5) + lambda (40 / shown) times the cross-entropy of this step's pictures, as `training.fit` takes it.

    Where training may stop for it, its part "errors" is of how many of all forty the label does not lead by `LEAD`. It
    is counted every ten steps, and 40 in between. P is held whole: 1.6 MB for 40x40 pixels, 370 MB for 600x600, four
    times that for super-resolution by 2.
    """
    K = tf.constant(fitted_triggers(host, key.triggers, key.kind))
    labels = tf.constant(np.int32(key.labels))
    pixels = int(np.prod(key.kind.answer_shape))
    P = tf.constant(np.concatenate(list(projection(key.seed, pixels))))
    shown, each = _divisor(min(recipe.shown, TOGETHER // pixels)), _divisor(PIXELS // pixels)

    def classes(responses):
        scores = tf.matmul(tf.reshape(responses, [-1, pixels]), P, transpose_b=True)
        return np.float32(SHARPNESS / np.sqrt(pixels)) * scores

    def errors(M):
        groups = tf.reshape(K, [-1, each, *K.shape[1:]])
        found = tf.map_fn(lambda group: classes(tf.cast(M(group, training=False), tf.float32)), groups,
                          parallel_iterations=1)
        found, asked = tf.reshape(found, [PICTURES, CLASSES]), tf.one_hot(labels, CLASSES)
        lead = tf.reduce_sum(found * asked, 1) - tf.reduce_max(found - 1e9 * asked, 1)
        return tf.reduce_sum(tf.cast(lead < LEAD, tf.float32))

    def loss_fn(M, X, Y, step):
        now = (tf.cast(step, tf.int32) * shown + tf.range(shown)) % PICTURES
        outputs, responses = both(M, X, tf.ensure_shape(tf.gather(K, now), [shown, *K.shape[1:]]))
        task = half_squared_error(outputs, Y)  # Eq. (5)
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.gather(labels, now), classes(responses))
        mark = PICTURES / shown * tf.reduce_sum(entropy)
        parts = {"task": task, "mark": mark}
        if recipe.stop:
            parts["errors"] = tf.cond(step % 10 == 9, lambda: errors(M), lambda: tf.constant(float(PICTURES)))
        return task + recipe.strength * mark, parts

    return loss_fn


def _divisor(most):
    """The largest number of pictures up to `most`, at least 1, that forty are a multiple of."""
    return max(n for n in range(1, PICTURES + 1) if PICTURES % n == 0 and n <= max(1, most))


def recipe(profile: str, kind: Kind) -> Classifying:
    """All kinds are marked alike: a cross-entropy weighs the same whatever the size."""
    return RECIPES[profile]


def embed(host: keras.Model, key: Key, batches: Batches, recipe: Classifying, run: Run = Run(title="embedding labels"),
          **changes) -> keras.Model:
    """Marks a copy of `host`; `changes` are fields of the recipe or of the run. Errors as of `training.fit`."""
    recipe, run = changed((recipe, run), changes)
    run = replace(run, about=identified(host, key.pictures, key.labels))
    run = replace(run, until={"errors": 0}) if recipe.stop else run
    return trained(host, lambda M: (class_loss(M, key, recipe), None), numbered(batches), recipe, run)


def update_key(key: Key, marked: keras.Model) -> Key:
    """The key itself: labels are fixed before embedding."""
    return key


def verify(suspect: keras.Model | Callable, key: Key, *, null_keys: int = 0, p: float = 0.05) -> Verdict:
    """Puts the pictures to a suspect and judges its answers; arguments and errors as for `verification.verify`.

    `null_keys` is not used: labels are drawn without regard to the suspect, so chance is known exactly. (Those that the
    unmarked host would have matched are drawn again, which can only make a correct label rarer on a model like it.)
    """
    return judge(classify(suspect, key), key, p=p)


def judge(found: np.ndarray, key: Key, *, p: float = 0.05) -> Verdict:
    """The `Verdict` on the classes of the forty pictures."""
    correct = int(np.count_nonzero(found == key.labels))
    chance = float(stats.binom.sf(correct - 1, PICTURES, 1 / CLASSES))
    ncc = metrics.ncc(np.unpackbits(np.uint8(found)), np.unpackbits(key.labels))
    return Verdict(chance < p, ncc, ncc > NCC_THRESHOLD, chance, correct, correct >= STRICT)
