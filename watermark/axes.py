"""In which order a model file has the axes of images, which are [N, H, W, C] here."""

from __future__ import annotations

import numpy as np

LAYOUTS = {4: ("NHWC", "NCHW"), 3: ("NHW", "HWC", "CHW"), 2: ("HW",)}  # by the number of axes, the likelier first
LEAST = 5  # pixels; a declared axis that is shorter is one of channels


def like(answer: np.ndarray, image: np.ndarray) -> bool:
    """Whether an answer has an image's channels and proportions."""
    return answer.ndim == 4 and answer.shape[3] == image.shape[3] and (
        answer.shape[1] * image.shape[2] == answer.shape[2] * image.shape[1])


def allows(shape: tuple, layout: str, channels: int) -> bool:
    """Whether a declared shape can be of images of so many channels in this order of axes."""
    there = dict(zip(layout, shape, strict=True))
    return there.get("C", 1) in (None, channels) and all(there[side] is None or there[side] >= LEAST for side in "HW")


def channels_in(shape: tuple, layout: str) -> int | None:
    """How many channels a shape in this order of axes has, None where that is free."""
    return shape[layout.index("C")]


def turned(images: np.ndarray, layout: str) -> np.ndarray:
    """Images [N, H, W, C] with their axes in another order; without N or C, those have one image or one channel."""
    missing = tuple(i for i, axis in enumerate("NHWC") if axis not in layout)
    there = "".join(axis for axis in "NHWC" if axis in layout)
    return np.squeeze(images, missing).transpose([there.index(axis) for axis in layout])


def as_images(answer: np.ndarray, layout: str, asked: tuple) -> np.ndarray:
    """An answer as images [N, H', W', C], or as it is where it has no such axes.

    Its axes are in the order of the question, of shape `asked`, unless the channels fit at another place only.
    """
    for order in sorted(LAYOUTS.get(answer.ndim, ()), key=lambda order: order != layout):
        coloured = "C" not in order or channels_in(answer.shape, order) == asked[3]
        if coloured and ("N" not in order or len(answer) == asked[0]):
            answer = answer.transpose([order.index(axis) for axis in "NHWC" if axis in order])
            answer = answer if "N" in order else answer[None]
            return answer if "C" in order else answer[..., None]
    return answer
