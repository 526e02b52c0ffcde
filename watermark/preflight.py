"""Before anything is trained: how good a network is at a task, and on what range of pixels."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from watermark import data, metrics
from watermark.errors import ModelError
from watermark.fitting import BYTES, RANGES, UNIT, Pixels
from watermark.forms import Form
from watermark.inference import restored
from watermark.ports import SuspectError
from watermark.tasks import Denoising, SuperResolution, Task

SIDE, SAMPLES = 64, 4  # pixels a side, and number, of the pairs that a network is measured on
BORDER = 8  # pixels that are left out around: what a network makes of its padding differs between ranges
# dB by which another range must be the better one, to be believed against the usual one. The shipped DnCNN is better by
# 1.6 on [0, 255] at twice its noise, by 11 and 12 on its own range at its own.
BETTER = 3.0


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
      count: how many images it was measured on.
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
    return Measured(found, nothing(task, chosen), len(chosen) // len(task.variants))


def hint(answers: Callable, shape: Form, task: Task, images: list) -> str:
    """What a network does that no range of pixels helps, if it is one of two usual things, in a clause; else "".

    Arguments as for `measure`.
    """
    chosen = pairs(shape, task, images)
    least = nothing(task, chosen)
    if psnr(lambda x: np.float32(BYTES.high) * answers(BYTES)(x), task, chosen) > least:
        return (f"it takes pixels on {BYTES} and answers on {UNIT}: put keras.layers.Rescaling(255.0) behind it and "
                f"say --range={BYTES.told}")
    if shape.scale == 1 and psnr(lambda x: x - answers(UNIT)(x), task, chosen) > least:
        return "it answers with the noise: put keras.layers.Subtract()([x, M(x)]) behind it"
    return ""


def check(found: Measured, asked: Pixels | None, name: str, hint: Callable[[], str] = str) -> None:
    """Refuses a network that is worse than doing nothing, or that wants another range of pixels.

    Args:
      found: of its own task, on its owner's images.
      asked: the range that its owner named, or None.
      name: of the network.
      hint: gives what else may be the matter, in a clause or "".

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
        raise ModelError(f"{says}, and no range of pixels helps ({_list(found)}): " + (
            hint() or "is it trained, and for this --task? --nopreflight goes on all the same"))
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
