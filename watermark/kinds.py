"""What sort of key: task, sizes, and the generator G that makes S0 of K."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import numpy as np

TASKS = ("denoise", "sr")
SMALLEST, LARGEST = 3, 2400  # pixels of a side
NUMBERS = 16_000_000  # of an image: what key files hold (`keys.LARGEST`)


def _mixed_sobel(image):
    """K convolved with [-1 0 1]^T [-1 0 1], reflecting without repeating the border. float64 [H, W, C]."""
    p = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="reflect")
    return p[2:, 2:] - p[2:, :-2] - p[:-2, 2:] + p[:-2, :-2]


def sobel_xy(image: np.ndarray) -> np.ndarray:
    """|K * [-1 0 1]^T [-1 0 1]|, on [0, 2]."""
    return np.abs(_mixed_sobel(image))


def sobel_xy_8bit(image: np.ndarray) -> np.ndarray:
    """`sobel_xy` in 8 bits: floor(255 |.|) mod 256, over 255.

    Of the operators tried the nearest to the paper's distances: two initial keys lie 8.9e-3 apart by it in
    residuals, 8.59 in print (docs/recipe.md).
    """
    return np.floor(255.0 * sobel_xy(image)) % 256.0 / 255.0


def central_abs(image: np.ndarray) -> np.ndarray:
    """Mean of the two absolute central differences |K(i+1) - K(i-1)| / 2, on [0, .5]."""
    p = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="reflect")
    rows, columns = p[2:, 1:-1] - p[:-2, 1:-1], p[1:-1, 2:] - p[1:-1, :-2]
    return (np.abs(rows) + np.abs(columns)) / 4.0


def upsample(image: np.ndarray, scale: int) -> np.ndarray:
    """Linear interpolation of [H, W, C] to `scale` times the size, pixel centres aligned, border repeated. float64."""
    return _interpolated(image, scale, 0.5)


def upsample_corner(image: np.ndarray, scale: int) -> np.ndarray:
    """`upsample` with the corners of pixels aligned, sampled at i / scale: the default of TensorFlow 1."""
    return _interpolated(image, scale, 0.0)


def _interpolated(image, scale, centre):
    height, width = (_weights(n, scale, centre) for n in image.shape[:2])
    image = np.einsum("ih,jw,hwc->ijc", height, width, image.astype(np.float64), optimize=True)
    return np.round(image * 2.0**24) * 2.0**-24  # rounding errors differ between machines; keys must not


@functools.lru_cache(maxsize=8)  # a thousand fresh keys share them
def _weights(n, scale, centre):
    places = (np.arange(n * scale) + centre) / scale - centre
    return np.stack([np.interp(places, np.arange(n), unit) for unit in np.eye(n)], axis=1)


GRADIENTS: dict[str, Callable] = {g.__name__: g for g in (sobel_xy_8bit, sobel_xy, central_abs)}
# Generators of super-resolution that make K^ otherwise too; which one the paper took is open (docs/recipe.md).
UPSAMPLINGS: dict[str, Callable] = {"corner_sobel_xy_8bit": upsample_corner}
GRADIENTS["corner_sobel_xy_8bit"] = sobel_xy_8bit


@dataclass(frozen=True)
class Kind:
    """The public part of a key: what it fits and how its S0 follows from its K.

    >>> Kind("sr", size=20, scale=2).answer_shape
    (40, 40, 1)

    Attributes:
      task: "denoise" (S0 = K - grad K, Eq. (2)) or "sr" (S0 = K^ + grad K^, Eq. (3)).
      size: side of the trigger in pixels, or (height, width).
      scale: what the trigger is upsampled by; 1 unless the task is "sr".
      channels: 1 or 3.
      gradient: key in `GRADIENTS`; one in `UPSAMPLINGS` is for "sr" only.

    Raises:
      ValueError: for a field outside its choices, which it lists.
    """

    task: str = "denoise"
    size: int | tuple[int, int] = 40
    scale: int = 1
    channels: int = 1
    gradient: str = "sobel_xy_8bit"

    def __post_init__(self):
        choices = (("task", self.task, TASKS), ("gradient", self.gradient, tuple(GRADIENTS)),
                   ("channels", self.channels, (1, 3)))
        for name, value, allowed in choices:
            if value not in allowed:
                raise ValueError(f"unknown {name} {value!r}; choose from {', '.join(map(str, allowed))}")
        if self.gradient in UPSAMPLINGS and self.task != "sr":
            raise ValueError(f"expected the task sr for the gradient {self.gradient}, got {self.task}")
        size = tuple(self.size) if isinstance(self.size, list | tuple) else (self.size, self.size)
        whole = all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in (*size, self.scale))
        if len(size) != 2 or not whole or not all(SMALLEST <= side <= LARGEST for side in size) or not (
                1 <= self.scale <= (8 if self.task == "sr" else 1)):
            raise ValueError(f"expected {SMALLEST} <= size <= {LARGEST} and 1 <= scale <= 8 (1 for denoise), got "
                             f"size={self.size!r}, scale={self.scale!r}")
        sides = tuple(int(side) for side in size)
        # One size, one name: a square is a number.
        object.__setattr__(self, "size", sides[0] if sides[0] == sides[1] else sides)
        object.__setattr__(self, "scale", int(self.scale))
        object.__setattr__(self, "channels", int(self.channels))
        if (numbers := int(np.prod(self.answer_shape))) > NUMBERS:
            raise ValueError(f"expected an S of at most {NUMBERS:,} numbers, got {numbers:,}: size={self.size}, "
                             f"scale={self.scale}, channels={self.channels}")

    @classmethod
    def of(cls, mapping: Mapping) -> Kind:
        """From what `as_dict` gave, as key files hold it."""
        names = [field.name for field in fields(cls)]
        if not isinstance(mapping, Mapping) or not set(names) <= set(mapping):
            raise ValueError(f"meta with {', '.join(sorted(names))} expected")
        return cls(**{name: mapping[name] for name in names})

    def as_dict(self) -> dict:
        """JSON-able; key files and commitments hold, and digest, this."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"size": list(self.size) if isinstance(self.size, tuple) else self.size}

    @property
    def sides(self) -> tuple[int, int]:
        """(height, width) of the trigger."""
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)

    @property
    def trigger_shape(self) -> tuple[int, int, int]:
        """[H, W, C] of K."""
        return (*self.sides, self.channels)

    @property
    def answer_shape(self) -> tuple[int, int, int]:
        """[H', W', C] of S0, S and S'."""
        return (*(side * self.scale for side in self.sides), self.channels)

    @property
    def pixels(self) -> int:
        """Of S0, S and S', whatever their channels."""
        return int(np.prod(self.answer_shape[:2]))

    def base(self, trigger: np.ndarray) -> np.ndarray:
        """What the gradient is added to: K for denoising, its linear upsampling for super-resolution. float64."""
        trigger = np.asarray(trigger, np.float64)
        if self.task != "sr":
            return trigger
        return UPSAMPLINGS.get(self.gradient, upsample)(trigger, self.scale)

    def generate(self, trigger: np.ndarray) -> np.ndarray:
        """G(K) of Eq. (2) (denoising, K - grad K) or Eq. (3) (super-resolution, K^ + grad K^). float32."""
        image = self.base(trigger)
        gradient = GRADIENTS[self.gradient](image)
        return (image + gradient if self.task == "sr" else image - gradient).astype(np.float32)
