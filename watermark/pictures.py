"""Figures of images, and how every figure of the project looks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from watermark.files import atomic_write

WIDTH = 7.2  # inches, two columns
LINE = 0.14  # inches, a line of words beside an image
STYLE = Path(__file__).with_name("pages") / "figures.mplstyle"
logging.getLogger("fontTools").setLevel(logging.WARNING)  # it reports every glyph


def write(path: str | Path, figure: Figure) -> None:
    """Writes a figure to one file, whole or not at all; equal figures give equal files."""
    # The date and the version of the library would make them differ.
    metadata = {"CreationDate": None} if Path(path).suffix == ".pdf" else {"Software": None}
    with style.context(STYLE, after_reset=True), atomic_write(path) as temporary:
        figure.savefig(temporary, metadata=metadata)


def panel(axis: Axes, image: np.ndarray, title: str = "", below: str = "",
          limits: tuple[float, float] = (0.0, 1.0)) -> None:
    """One image [H, W], [H, W, 1] or [H, W, 3] without axes, words above and below it, small ones if it is small."""
    image = np.asarray(image)
    axis.imshow(image[..., 0] if image.shape[2:] == (1,) else image, vmin=limits[0], vmax=limits[1])
    axis.set(xticks=[], yticks=[])
    small = axis.get_subplotspec().get_gridspec().ncols > 6
    axis.set_title(title, fontsize=6.5 if small else None)
    axis.set_xlabel(below, fontsize=6.5 if small else None)
    axis.spines[:].set(visible=True, linewidth=0.4, color="0.7")  # or a white image has no end


def panels(rows: Sequence, titles: Sequence[str] = (), row_titles: Sequence[str] = (),
           limits: tuple[float, float] = (0.0, 1.0), width: float = WIDTH) -> Figure:
    """A figure of images.

    Args:
      rows: lists of (image, words below it), or None for an empty place.
      titles: words above the columns.
      row_titles: words left of the rows.
      limits: intensities shown as black and white.
      width: in inches.
    """
    columns = max(map(len, rows))
    side, lines = width / columns, max(_lines(below) for row in rows for _, below in filter(None, row))
    height = len(rows) * (side + LINE * lines) + LINE * max(map(_lines, titles), default=0)
    with style.context(STYLE, after_reset=True):
        figure = Figure(figsize=(width, height))
        axes = figure.subplots(len(rows), columns, squeeze=False)
        _fill(axes, rows, (titles, row_titles), limits)
    return figure


def _fill(axes, rows, words, limits):
    titles, row_titles = words
    for i, (row, line) in enumerate(zip(rows, axes, strict=True)):
        for j, axis in enumerate(line):
            if j >= len(row) or row[j] is None:
                axis.axis("off")
                continue
            panel(axis, row[j][0], titles[j] if i == 0 and titles else "", row[j][1], limits)
        if row_titles:
            line[0].set_ylabel(row_titles[i])


def _lines(words):
    return len(words.splitlines())
