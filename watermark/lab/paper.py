"""The numbers that the paper prints (Quan et al., TNNLS 2020), found by the names of a row's axes.

They stand in `paper.json` beside this module, a block a table, a line a row, in natural units: dB, distances such as
2.09e-3, rates as fractions, seconds (the paper prints minutes of embedding). Of each table it says:

- `axes`: what tells its lines apart. `null` is an axis that the line does not have (an overwriting has no rate).
- `implied`, and `everywhere` for the whole table: what the paper's numbers are of without printing it as an axis.
- `values`: what is printed; `null` where the paper prints nothing.
- `remarks`: the paper's own slips, how they are read, and what else a reader should know, with the lines they are
  at; `{}` is the table as a whole.

A row of ours finds a line that has the same values on all of the line's axes, and contradicts nothing implied. Of what
else the row names, `precision` for instance, the paper knows nothing, and it is ignored.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path

from watermark.errors import WatermarkError

DATA = Path(__file__).with_suffix(".json")
Row = Mapping[str, str | float | bool]


class PaperError(WatermarkError, ValueError):
    """A table that the paper does not have, or a row that leaves open which of its lines is meant."""


@dataclass(frozen=True)
class Line:
    """One line of a table of the paper.

    Attributes:
      axes: {name: value}, what tells it from the others.
      implied: {name: value}, what it is of besides.
      values: {name: number or verdict}, what is printed.
      remarks: what is to be said of it.
    """

    axes: Row
    implied: Row
    values: Mapping[str, float | bool]
    remarks: tuple[str, ...] = ()

    def agrees(self, row: Row) -> bool:
        """Whether nothing that `row` names contradicts the line; the row may lack axes."""
        known = {**self.implied, **self.axes}
        return all(_same(row[name], value) for name, value in known.items() if name in row)

    def missing(self, row: Row) -> list[str]:
        """The axes that `row` does not name."""
        return [name for name in self.axes if name not in row]


@dataclass(frozen=True)
class Paper:
    """Some of the paper's lines; of an empty one every row finds nothing, as in a table that the paper does not have.

    >>> paper("table6_pruning").find({"rate": 0.3, "host": "dncnn", "scheme": "ours"})["distance"]
    0.00282

    Attributes:
      name: of the table, for messages.
      lines: of numbers.
      remarks: what is to be said of the table as a whole.
    """

    name: str = "nothing"
    lines: tuple[Line, ...] = field(default=(), repr=False)
    remarks: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Which values are printed anywhere in the table."""
        return frozenset(name for line in self.lines for name in line.values)

    def line(self, row: Row) -> Line | None:
        """The paper's line for a row of ours, or None if it has none.

        Raises:
          PaperError: if the row lacks an axis without which it could be several lines.
        """
        agreeing = [line for line in self.lines if line.agrees(row)]
        found = [line for line in agreeing if not line.missing(row)]
        if agreeing and not found:
            raise PaperError(f"{self.name}: expected a row with {', '.join(agreeing[0].axes)}, got one without "
                             f"{', '.join(agreeing[0].missing(row))}; name it, or narrow the table by where(...)")
        if len(found) > 1:
            raise PaperError(f"{self.name}: expected one line for {dict(row)}, got {len(found)}; narrow by where(...)")
        return found[0] if found else None

    def find(self, row: Row) -> dict[str, float | bool]:
        """{name: the paper's number} for a row of ours; empty if the paper has none.

        Raises:
          PaperError: as `line` does.
        """
        line = self.line(row)
        return dict(line.values) if line else {}

    def slips(self, rows: Iterable[Row]) -> list[str]:
        """What is to be said of the table, and of its lines for some rows of ours, each once, a clause each."""
        found: dict[str, list[Row]] = {}
        for line in filter(None, map(self.line, rows)):
            for remark in line.remarks:
                found.setdefault(remark, []).append(line.axes)
        common = {remark: [f"{name} {value}" for name, value in axes[0].items() if all(
            other.get(name) == value for other in axes)] for remark, axes in found.items()}
        return [*self.remarks, *(f"{', '.join(at)}: {remark}" if at else remark for remark, at in common.items())]

    def where(self, **axes: str | float | bool) -> Paper:
        """The lines at these values of some axes; a row then need not name them.

        >>> paper("table1_fidelity_denoising").where(lam=0).find({"host": "red", "test_set": "set12"})["psnr"]
        30.28

        Raises:
          PaperError: if there are none.
        """
        pinned = tuple(
            replace(line, axes={n: v for n, v in line.axes.items() if n not in axes}, implied={**line.implied, **axes})
            for line in self.lines if not axes.keys() - line.axes.keys() and line.agrees(axes))
        if not pinned:
            raise PaperError(f"{self.name}: expected values that the paper has, got {axes}; see {DATA.name}")
        return replace(self, lines=pinned)

    def renamed(self, **names: str) -> Paper:
        """The same numbers under other names, where ours are measured in two ways and the paper's are one of them."""
        lines = tuple(replace(line, values={names.get(name, name): value for name, value in line.values.items()})
                      for line in self.lines)
        return replace(self, lines=lines)

    def __or__(self, other: Paper) -> Paper:
        """The lines of both, for a table of ours that holds two of the paper's."""
        return Paper(f"{self.name} | {other.name}", self.lines + other.lines, self.remarks + other.remarks)


@functools.cache
def paper(table: str) -> Paper:
    """The paper's numbers for the table of this name, that of its script: `table6_pruning`.

    Raises:
      PaperError: if there is no such table.
    """
    if table not in tables():
        raise PaperError(f"expected a table that the paper has, one of {', '.join(tables())}; got {table!r}")
    block = _data()[table]
    remarks = tuple(remark["says"] for remark in block.get("remarks", ()) if not remark["at"])
    return Paper(table, tuple(_line(block, cells) for cells in block["rows"]), remarks)


def tables() -> tuple[str, ...]:
    """The names that `paper` takes: the tables, and the numbers of a figure and of the text."""
    return tuple(_data())


@functools.cache
def _data():
    return json.loads(DATA.read_text(encoding="utf-8"))


def _line(block, cells) -> Line:
    """The line of one row of cells of a table's block in the file."""
    implied = block.get("implied", ())
    named = dict(zip((*block["axes"], *implied, *block["values"]), cells, strict=True))
    axes = _some(named, block["axes"])
    remarks = tuple(r["says"] for r in block.get("remarks", ()) if r["at"] and r["at"].items() <= axes.items())
    return Line(axes, block.get("everywhere", {}) | _some(named, implied), _some(named, block["values"]), remarks)


def _some(cells, names):
    return {name: cells[name] for name in names if cells[name] is not None}


def _same(a, b):
    """Equal; of numbers, but for the rounding of a rate that was computed."""
    return math.isclose(a, b, rel_tol=1e-9) if isinstance(a, Real) and isinstance(b, Real) else a == b
