"""Two copyright images of the project's own, drawn here: a logo, and a sign that looks written by hand."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

SIDE = 320  # pixels
FINER = 4  # drawn this much larger, then shrunk: smooth edges


def logo() -> np.ndarray:
    """uint8 [320, 320]: rings around a wave, white on black."""
    image, draw = _canvas(0)
    centre = SIDE * FINER / 2
    for radius, width in ((140, 14), (112, 6)):
        box = [centre - radius * FINER, centre - radius * FINER, centre + radius * FINER, centre + radius * FINER]
        draw.ellipse(box, outline=255, width=width * FINER)
    x = np.linspace(-86, 86, 400)
    for height, width in ((-34, 9), (0, 13), (34, 9)):
        y = height + 16 * np.sin(x / 86 * 2.5 * np.pi)
        _stroke(draw, x, y, np.full(x.shape, width), 255)
    return _shrunk(image)


def sign() -> np.ndarray:
    """uint8 [320, 320]: a pen's loops and a flourish, black on white, thicker where the pen goes down."""
    image, draw = _canvas(255)
    t = np.linspace(0.0, 1.0, 1600)
    x = -112 + 224 * t + 26 * np.sin(2 * np.pi * 5.5 * t)
    y = -52 * np.exp(-2.2 * t) * np.cos(2 * np.pi * 5.5 * t + 0.5) - 16 * np.cos(2 * np.pi * 2.1 * t)
    _stroke(draw, x, y, 4.6 + 4.0 * np.clip(np.gradient(y) / np.abs(np.gradient(y)).max(), 0, 1), 0)
    t = np.linspace(0.0, 1.0, 500)
    _stroke(draw, 100 - 214 * t, 62 + 22 * np.sin(np.pi * (0.15 + 1.3 * t)) - 8 * t, 2.6 + 4.0 * np.sin(np.pi * t), 0)
    return _shrunk(image)


def _canvas(shade):
    image = Image.new("L", (SIDE * FINER,) * 2, shade)
    return image, ImageDraw.Draw(image)


def _stroke(draw, x, y, widths, shade):
    """A line through points given in pixels from the centre, as a round pen draws it."""
    for cx, cy, width in zip(x, y, widths, strict=True):
        cx, cy, r = (SIDE / 2 + cx) * FINER, (SIDE / 2 + cy) * FINER, width * FINER / 2
        draw.ellipse([cx - r, cy - r, cx + r, cy + r], fill=shade)


def _shrunk(image):
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
