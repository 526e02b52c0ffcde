"""Before anything is trained: what sizes a network takes, what it makes of them, and how good it is at a task."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from cachetools import cached

from watermark import data, metrics
from watermark.errors import FAILURES, ModelError, first_line
from watermark.fitting import RANGES, UNIT, Pixels
from watermark.hosts.folding import every_layer
from watermark.inference import restored
from watermark.models import check_finite
from watermark.ports import SuspectError, Unreachable
from watermark.tasks import Denoising, SuperResolution, Task

# Tried in this order. A U-Net of four halvings wants multiples of 16, transformers those of their windows.
STEPS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96, 128)
PRIMES = (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43)
SMALLEST = 33  # pixels a side of a trial, and more: some networks want a few dozen whatever their step
SIDE, SAMPLES = 64, 4  # pixels a side, and number, of the pairs that a network is measured on
BORDER = 8  # pixels that are left out around: what a network makes of its padding differs between ranges
# dB by which another range must be the better one, to be believed against the usual one. The shipped DnCNN is better by
# 1.6 on [0, 255] at twice its noise, by 11 and 12 on its own range at its own.
BETTER = 3.0


@dataclass(frozen=True)
class Form:
    """What goes into a network and comes out.

    Attributes:
      sides: (height, width) that it takes, None where it is free.
      step: free sides are multiples of this.
      scale: how many times the input's the answer's sides are.
      channels: 1 or 3.
    """

    sides: tuple[int | None, int | None]
    step: int
    scale: int
    channels: int

    def fits(self, height: int, width: int) -> bool:
        """Whether the network takes images of that size."""
        return all(side == own if own else side % self.step == 0
                   for side, own in zip((height, width), self.sides, strict=True))

    def above(self, height: int, width: int) -> tuple[int, int]:
        """The smallest size that the network takes and that is not below that one; a fixed size as it is."""
        return tuple(own or -(-side // self.step) * self.step
                     for side, own in zip((height, width), self.sides, strict=True))

    def size(self, wanted: int) -> int | tuple[int, int]:
        """`above` for a square, as a key's size: a side, or (height, width)."""
        height, width = self.above(wanted, wanted)
        return height if height == width else (height, width)

    def inside(self, height: int, width: int) -> tuple[int, int]:
        """The largest size that the network takes of an image of that size; 0 where the image is too small."""
        return tuple((own if own <= side else 0) if own else side - side % self.step
                     for side, own in zip((height, width), self.sides, strict=True))

    def __str__(self):
        if all(self.sides):
            return f"{self.sides[0]}x{self.sides[1]} only"
        return "any" if self.step == 1 else f"multiples of {self.step}"


def check_weights(model: keras.Model) -> None:
    """Refuses a network that cannot be trained here: its weights are frozen, not finite, or not in float32.

    Raises:
      ModelError: with the way to convert it; mixed policies, whose weights are float32, pass.
    """
    other = sorted({variable.dtype for variable in model.trainable_variables} - {"float32"})
    if other:
        raise ModelError(f"{model.name} has weights in {other[0]}, expected float32: build the same network after "
                         "keras.config.set_dtype_policy('float32'), then new.set_weights(old.get_weights())")
    if not model.trainable_variables:
        raise ModelError(f"{model.name} has no trainable weights, which the mark would go into; set trainable = True "
                         "on its layers and save it again")
    check_finite(model)


@cached(weakref.WeakKeyDictionary(), key=lambda model: model)  # a model that nobody else has goes
def form(model: keras.Model) -> Form:
    """The `Form` of an image-to-image network of one input and output; free sides are found by trying.

    Raises:
      ModelError: it is none, takes other than 1 or 3 channels, or no size that was tried.
    """
    shape = model.input_shape
    if len(model.output_shape) != 4:
        raise ModelError(f"{model.name}: expected an image to an image, got {shape} to {model.output_shape}")
    if first := next((layer for layer in every_layer(model)
                      if getattr(layer, "data_format", None) == "channels_first"), None):
        raise ModelError(
            f"{model.name} is channels_first, [N, C, H, W] (layer {first.name}); expected [N, H, W, C]. Build the same "
            "network after keras.config.set_image_data_format('channels_last') (and axis=-1 for axis=1), then "
            "new.set_weights(old.get_weights()): the weights are the same in both")
    if shape[-1] not in (1, 3):
        first = shape[1] in (1, 3)
        raise ModelError(f"{model.name}: expected images of 1 or 3 channels, [N, H, W, C], got {list(shape)}" + (
            "; this looks like channels_first, [N, C, H, W]: put keras.layers.Permute((3, 1, 2)) before it and "
            "keras.layers.Permute((2, 3, 1)) behind it" if first else ""))
    if all(shape[1:3]):  # its shapes are known: no need to run what may be large
        answer = model.compute_output_shape((1, *shape[1:]))
        return Form(tuple(shape[1:3]), 1, _scale(answer[1:], shape[1:], model.name), shape[-1])
    return probe(lambda images: model(images, training=False).shape, model.name, shape[-1], shape[1:3])


def probe(ask: Callable, name: str, channels: int, sides: tuple = (None, None), steps: tuple = STEPS) -> Form:
    """The `Form` of whatever gives the shape of its answer to images [1, H, W, C]; free sides are found by trying."""
    for step in (1,) if all(sides) else steps:
        height, width = (own or side for own, side in zip(sides, _trial(step), strict=True))
        asked = height, width, channels
        try:
            return Form(tuple(sides), step, _scale(ask(np.zeros((1, *asked), "float32"))[1:], asked, name), channels)
        except Unreachable:
            raise
        except FAILURES as error:  # whatever a graph says of sizes that do not fit
            reason = error
    tried = "x".join(map(str, sides)) if all(sides) else f"whose sides are multiples of {steps[-1]} or less"
    raise ModelError(f"{name} takes no image {tried}, {channels} channel{'s' * (channels > 1)}: {first_line(reason)}")


def _trial(step):
    """Two sides, prime multiples of `step`."""
    return tuple(prime * step for prime in PRIMES if prime * step >= SMALLEST)[:2]


def _scale(answer, asked, name):
    """How many times the image asked the answer is; a ModelError unless that is a whole number."""
    height, width, channels = asked
    scale = (answer[0] or height) // height
    if scale < 1 or tuple(answer) != (scale * height, scale * width, channels):
        raise ModelError(f"{name} makes {list(answer)} of {list(asked)}; expected the same size or a whole multiple, "
                         "and as many channels")
    return scale


def pairs(shape: Form, task: Task, images: list, *, side: int = SIDE, count: int = SAMPLES) -> list[tuple]:
    """(input, target, variant) of the first `count` images large enough: their middle, of a size that a network takes.

    Args:
      shape: of the network.
      task: of `watermark.tasks`.
      images: as the task takes them.
      side: pixels at most, of an input; more where the network's own sizes are larger.
    """
    chosen = [part for image in images if (part := _cut(shape, task, image, side)) is not None]
    return [(x, y, variant) for variant in task.variants for x, y in task.pairs(chosen[:count], variant)
            if shape.fits(*x.shape[:2])]


def _cut(shape, task, image, side):
    """An image, or a tuple (input, target) of images, cut; None where it is too small."""
    pair = isinstance(image, tuple)
    scale = shape.scale if pair or getattr(task, "small", False) else 1
    have = np.shape(image[0])[:2] if pair else [length // scale for length in np.shape(image)[:2]]
    height, width = shape.inside(*(min(own or max(side, shape.step), length)
                                   for own, length in zip(shape.sides, have, strict=True)))
    if not height or not width:
        return None
    top, left = (have[0] - height) // 2, (have[1] - width) // 2

    def middle(image, scale):
        return image[scale * top:scale * (top + height), scale * left:scale * (left + width)]

    return (middle(image[0], 1), middle(image[1], scale)) if pair else middle(image, scale)


def psnr(answer: Callable, task: Task, chosen: list[tuple]) -> float:
    """Mean PSNR in dB over `pairs` of what a callable on batches [N, H, W, C] answers; -inf of what is not finite."""

    def score(x, y, variant):
        made = restored(answer, x)
        return _psnr(task, made, y, variant) if np.isfinite(made).all() else -np.inf  # NaN is below nothing

    return _mean(score(*pair) for pair in chosen)


def nothing(task: Task, chosen: list[tuple]) -> float:
    """Mean PSNR in dB over `pairs` of doing nothing: of the input, enlarged bicubically where the target is larger."""
    same = (data.bicubic(x, y.shape[:2]) if x.shape != y.shape else x for x, y, _ in chosen)
    return _mean(_psnr(task, x, y, v) for x, (_, y, v) in zip(same, chosen, strict=True))


def _psnr(task, output, target, variant):
    inner = np.s_[BORDER:-BORDER, BORDER:-BORDER] if min(target.shape[:2]) > 4 * BORDER else np.s_[:]
    return metrics.psnr(*(image[inner] for image in task.comparable(output, target, variant)))


def _mean(values):
    """The mean, or NaN of nothing."""
    values = list(values)
    return float(np.mean(values)) if values else float("nan")


@dataclass(frozen=True)
class Measured:
    """How good a network is.

    Attributes:
      psnr: {range of pixels: dB}.
      nothing: dB of doing nothing.
      count: how many pairs it was measured on.
    """

    psnr: dict[Pixels, float]
    nothing: float
    count: int

    @property
    def best(self) -> Pixels:
        """The range of pixels that fits best; the usual one, unless another is clearly better."""
        best = max(self.psnr, key=self.psnr.get)
        usual = next(iter(self.psnr))
        return best if self.psnr[best] > self.psnr[usual] + BETTER else usual

    @property
    def gain(self) -> float:
        """dB above doing nothing, at the best range."""
        return self.psnr[self.best] - self.nothing


def measure(answers: Callable, shape: Form, task: Task, images: list, usual: Pixels = UNIT) -> Measured:
    """How good a network is at a task, under each range of pixels.

    Args:
      answers: of one of `RANGES`, what the network answers to batches on [0, 1], were its own pixels on that range.
      shape: of the network.
      task: of `watermark.tasks`.
      images: as the task takes them.
      usual: the range that is asked first.
    """
    chosen, found = pairs(shape, task, images), {}
    for pixels in dict.fromkeys((usual, *RANGES)):
        try:
            found[pixels] = psnr(answers(pixels), task, chosen)
        except SuspectError:  # one that says its range refuses the others
            if pixels == usual:
                raise
            found[pixels] = -np.inf
    return Measured(found, nothing(task, chosen), len(chosen))


def check(found: Measured, asked: Pixels | None, name: str) -> None:
    """Refuses a network that is worse than doing nothing, or that wants another range of pixels.

    Args:
      found: of its own task, on its owner's images.
      asked: the range that its owner named, or None.
      name: of the network.

    Raises:
      ModelError: with the range that fits, if one does.
    """
    used, best = next(iter(found.psnr)), found.best
    says = (f"{name} has {found.psnr[used]:.1f} dB on {found.count} of the images where doing nothing has "
            f"{found.nothing:.1f}")
    if found.psnr[used] < found.nothing:
        if found.psnr[best] > found.nothing:
            raise ModelError(f"{says}, and {found.psnr[best]:.1f} with pixels on {best}: say "
                             f"--range={best.told}")
        raise ModelError(f"{says}, and no range of pixels helps ({_list(found)}): is it trained, and for this --task? "
                         "--nopreflight goes on all the same")
    if asked is None and best != used:
        raise ModelError(f"{says}, but {found.psnr[best]:.1f} with pixels on {best}: say --range={best.told}, or "
                         f"--range={used.told} if that is meant")


def _list(found):
    return ", ".join(f"{pixels}: {psnr:.1f}" for pixels, psnr in found.psnr.items())


def guess(answers: Callable, shape: Form, usual: Pixels = UNIT) -> dict:
    """{task of `watermark.tasks`: Measured}, the likeliest first, of a network whose task is not known.

    Measured on photographs that come with scikit-image; arguments as for `measure`.
    """
    images, answers = list(data.images("sample_test").values()), functools.cache(answers)
    if shape.scale > 1:
        tasks = [[SuperResolution((shape.scale,), shape.channels, small=True)]]
    else:
        tasks = [[Denoising(25.0, shape.channels), SuperResolution((2,), shape.channels)],
                 [Denoising(sigma, shape.channels) for sigma in (50.0, 10.0)]]
    found = {}
    for some in tasks:
        if not any(there.gain > 0.0 for there in found.values()):
            found |= {task: measure(answers, shape, task, images, usual) for task in some}
    return dict(sorted(found.items(), key=lambda item: -item[1].gain))
