"""Tables: pure functions of records."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from watermark.hosts import HOSTS
from watermark.lab.paper import Paper
from watermark.lab.specs import Spec

WIDEST = 11  # columns, as GitHub shows them without a scroll bar
TITLES = {host.name: host.title for host in HOSTS.values()}


@dataclass(frozen=True)
class Column:
    """One number of a record as a table shows it.

    Attributes:
      title: with the unit.
      value: key in a record's values.
      scale: what the number is multiplied by for printing.
      form: format of the mean and its deviation; None for a yes/no, shown as a count.
      optional: whether the column is left out where no trial has it.
    """

    title: str
    value: str
    scale: float = 1.0
    form: str | None = ".2f"
    optional: bool = False

    def cell(self, values: Sequence) -> str:
        """Mean ± standard deviation over trials that differ, or "yes in how many"; "–" for what a verdict lacks."""
        if not values:
            return "–"
        if self.form is None:
            return f"{sum(values)}/{len(values)}"
        mean = format(np.mean(values) * self.scale, self.form)
        return mean if len(set(values)) == 1 else f"{mean} ± {format(np.std(values, ddof=1) * self.scale, self.form)}"

    def paper_cell(self, value: float | bool | None) -> str:
        """The paper's number, printed alike."""
        if value is None:
            return "–"
        return ("yes" if value else "no") if self.form is None else format(value * self.scale, self.form)


@dataclass(frozen=True)
class Measure:
    """What is measured on a subject, shared by tables.

    Attributes:
      values: (lab, subject, row) -> {name: number}.
      columns: what a table prints of them.
      notes: (profile, subjects) -> clauses on the protocol for the table's foot.
      test_set: row -> name of the image set that is measured on; None: the first of the host's test sets.
      compared: (row, a record's values) -> those that are printed and compared, where the paper's numbers are of
        something else than the names say.
      needs: subject -> the spec whose model has to be there for it.
      on_images: whether anything is measured on a test set at all; else none is named.
      trained: what the measured models were trained on where they are others' and not the subjects'; "" else.
    """

    values: Callable[..., dict]
    columns: tuple[Column, ...]
    notes: Callable[..., list[str]] = lambda profile, subjects: []
    test_set: Callable[[Mapping], str | None] = lambda row: None
    compared: Callable[[Mapping, Mapping], dict] = lambda row, values: dict(values)
    needs: Callable[[Spec], Spec] = lambda spec: spec
    on_images: bool = True
    trained: str = ""

    def wanted(self, row: Mapping) -> str:
        """The image set that a row is measured on, before stand-ins."""
        return self.test_set(row) or HOSTS[row["host"]].test_sets[0]


@dataclass(frozen=True)
class Table:
    """A table, as an experiment script writes it down: its axes and its subject.

    Attributes:
      name: of the script and the record file.
      caption: what it shows, in a sentence or two.
      grid: list of rows, {axis: value} with at least "host"; `grid` makes one.
      subject: (profile, seed, **row) -> the spec that a row's numbers are measured on, or {name: spec} of several.
      measure: what is measured on it.
      paper: the paper's numbers, `paper(table)`; an empty `Paper` where it has no such table.
      unmarked: {axis: value} of the rows that are of the unmarked hosts, which the others' PSNR is held against; None
        where it is not.
    """

    name: str
    caption: str
    grid: list
    subject: Callable[..., Spec | dict[str, Spec]]
    measure: Measure
    paper: Paper = Paper()
    unmarked: Mapping | None = None

    def subjects(self, profile: Any, seed: int, row: Mapping) -> dict[str, Spec]:
        """{name: spec} of a trial."""
        found = self.subject(profile, seed, **row)
        return found if isinstance(found, dict) else {"": found}


def grid(**axes: Sequence) -> list[dict]:
    """All combinations of the axes' values, the last axis fastest.

    >>> grid(host=("dncnn", "red"), keys=(1,))
    [{'host': 'dncnn', 'keys': 1}, {'host': 'red', 'keys': 1}]
    """
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def render(rows: Sequence[Mapping], found: Sequence[Sequence[Mapping]], table: Table, trials: Sequence[int]) -> str:
    """Markdown, ours and the paper's side by side: what is the same in every row in a line, the rest as a table.

    A table of more than `WIDEST` columns becomes several: the verdicts, and the numbers behind them.

    Args:
      rows: in order.
      found: for each row the values of the trials there are.
      table: a `Table`.
      trials: for each row how many trials there should be.
    """
    axes = [_Printed(name, [_axis(row[name]) for row in rows], fixed=True) for name in rows[0]]
    made = _Printed("trials", [f"{len(values)}/{n}" for values, n in zip(found, trials, strict=True)], fixed=True)
    columns = [column for column in table.measure.columns
               if not column.optional or any(column.value in trial for values in found for trial in values)]
    measured = [printed for column in columns for printed in _measured(column, rows, found, table)]
    constant = [printed for printed in (*axes, *measured, made) if printed.constant]
    axes, measured, made = ([p for p in some if not p.constant] for some in (axes, measured, [made]))
    parts = [f"In every row: {'; '.join(f'{p.title}: {p.cells[0]}' for p in constant)}."] if constant else []
    for heading, columns in _pieces(measured, WIDEST - len(axes) - len(made)):
        parts += [f"**{heading}**"] if heading else []
        parts.append(_markdown([*axes, *columns, *made]))
    return "\n\n".join(parts)


def _pieces(columns, room):
    """[(heading, columns)] of the tables that columns are printed as; the paper's number stays beside ours."""
    if len(columns) <= room:
        return [("", columns)]
    pieces = []
    for heading, verdict in (("Verdict", True), ("Evidence", False)):
        chosen, piece = [printed for printed in columns if printed.verdict is verdict], []
        heading = "" if chosen == columns else heading
        for i, printed in enumerate(chosen):
            piece.append(printed)
            last = i + 1 == len(chosen)
            if last or (len(piece) >= room - 1 and chosen[i + 1].title != "paper"):
                pieces.append((heading, piece))
                heading, piece = "", []
    return pieces


@dataclass(frozen=True)
class _Printed:
    """A column as it is printed; `fixed`: one that goes into the line above the table where all cells are alike."""

    title: str
    cells: list
    verdict: bool = False
    fixed: bool = False

    @property
    def constant(self):
        return self.fixed and len(self.cells) > 1 and len(set(self.cells)) == 1


def _measured(column, rows, found, table):
    """A column, and the paper's beside it where it has one; verdicts, and what is compared, are always shown."""
    cells = [column.cell([trial[column.value] for trial in values if column.value in trial]) for values in found]
    verdict, compared = column.form is None, column.value in table.paper.names
    yield _Printed(column.title, cells, verdict, fixed=not verdict and not compared)
    if compared:
        paper = [column.paper_cell(table.paper.find(row).get(column.value)) for row in rows]
        yield _Printed("paper", paper, verdict)


def _axis(value):
    if isinstance(value, float):
        return f"{value:.2f}" if round(value, 2) == value else f"{value:g}"
    return TITLES.get(value, str(value))


def _markdown(columns):
    widths = [max(map(len, (printed.title, *printed.cells))) for printed in columns]

    def line(cells):
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    rows = zip(*(printed.cells for printed in columns), strict=True)
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(printed.title for printed in columns), rule, *map(line, rows)])
