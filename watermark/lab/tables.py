"""Tables: pure functions of records."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Column:
    """One number of a record as a table shows it.

    Attributes:
      title: with the unit.
      value: key in a record's values.
      scale: what the number is multiplied by for printing.
      form: format of the mean and its deviation; None for a yes/no, shown as a count.
    """

    title: str
    value: str
    scale: float = 1.0
    form: str | None = ".2f"

    def cell(self, values):
        """Mean ± standard deviation over trials, or "yes in how many"."""
        if not values:
            return "–"
        if self.form is None:
            return f"{sum(values)}/{len(values)}"
        mean = format(np.mean(values) * self.scale, self.form)
        return mean if len(values) == 1 else f"{mean} ± {format(np.std(values, ddof=1) * self.scale, self.form)}"

    def paper_cell(self, value):
        """The paper's number, printed alike."""
        if value is None:
            return "–"
        return ("yes" if value else "no") if self.form is None else format(value * self.scale, self.form)


VERDICT_COLUMNS = (
    Column("PSNR (dB)", "psnr"),
    Column("d (10⁻³)", "distance", 1e3),
    Column("d ≤ η", "verified", form=None),
    Column("NCC", "ncc", form=".4f"),
    Column("NCC > .95", "ncc_verified", form=None),
    Column("ρ", "rho", form=".3f"),
    Column("p", "p_value", form=".1e"),
)


@dataclass(frozen=True)
class Table:
    """One of the paper's tables, as an experiment script writes it down.

    Attributes:
      name: of the script and the record file.
      caption: what it shows, in a sentence or two.
      grid: list of row dicts with at least "host" and "scheme".
      trial: (lab, seed, **row) -> {name: number}, a pure function of the profile, the row and the seed.
      paper: {tuple of a row's values: {name: the paper's number}}.
      columns: what is printed.
      depends: (lab, seed, **row) -> what the numbers depend on beside the marked model and the row, if anything.
    """

    name: str
    caption: str
    grid: list
    trial: Callable
    paper: dict
    columns: tuple = VERDICT_COLUMNS
    depends: Callable | None = None


def render(rows, found, table, trials):
    """A Markdown table, ours and the paper's side by side.

    Args:
      rows: row dicts, in order.
      found: for each row the values of the trials there are.
      table: a `Table`.
      trials: how many trials there should be.
    """
    printed = {column for column in table.columns for numbers in table.paper.values() if column.value in numbers}
    head = list(rows[0])
    for column in table.columns:
        head += [column.title, "paper"] if column in printed else [column.title]
    body = []
    for row, values in zip(rows, found, strict=True):
        cells = [f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()]
        numbers = table.paper.get(tuple(row.values()), {})
        for column in table.columns:
            cells.append(column.cell([trial[column.value] for trial in values]))
            if column in printed:
                cells.append(column.paper_cell(numbers.get(column.value)))
        body.append([*cells, f"{len(values)}/{trials}"])
    return _markdown([*head, "trials"], body)


def _markdown(head, body):
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]

    def line(cells):
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return "\n".join([line(head), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(line, body)])
