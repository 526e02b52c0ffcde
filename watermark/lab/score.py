"""How far our tables agree with the paper's: counts, and every cell that disagrees.

A cell is a row's verdict by d, its verdict by NCC, or its PSNR. It counts if there is a trial of it and something to
compare with; what was not measured is neither agreement nor disagreement. A verdict agrees if more than half of the
trials have the paper's, a PSNR if the mean over trials is within 0.05 dB of the unmarked host's, above or below: the
gap that the paper calls acceptable. Where the paper's own mark costs more than that, PSNR is counted apart; PSNR of the
schemes that ours is held against is no cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from watermark.lab.paper import Paper, Row
from watermark.schemes import OURS, UNMARKED

GAP = 0.05  # dB, Section V-C
EDGE = 0.05  # of eta: nearer, a row that is made again may have the other verdict (benchmarks/repeats.py)
OWN = (OURS, UNMARKED)  # schemes whose PSNR counts
ROUNDING = 1e-9  # of a difference in dB: 30.41 - 30.36 is within the gap
Values = Mapping[str, float | bool]
Rows = Iterable[tuple[Row, Sequence[Values]]]  # each row with the values of its trials


@dataclass(frozen=True)
class Count:
    """Cells and trials that agree, of those that there are.

    >>> str(Count(12, 16, 28, 36))
    '12 of 16 (28 of 36 trials)'
    """

    cells: int = 0
    of_cells: int = 0
    trials: int = 0
    of_trials: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.cells + other.cells, self.of_cells + other.of_cells, self.trials + other.trials,
                     self.of_trials + other.of_trials)

    def __str__(self) -> str:
        return self.told()

    def told(self, unit: str = "") -> str:
        """In words, with what the cells are called: " cells"."""
        trials = f" ({self.trials} of {self.of_trials} trials)" if self.of_trials != self.of_cells else ""
        return f"{self.cells} of {self.of_cells}{unit}{trials}"


@dataclass(frozen=True)
class Disagreement:
    """A cell that is not as it should be.

    Attributes:
      row: whose cell it is.
      value: its name among the row's values.
      says: in words, what was measured and what was expected.
      remarks: what is known of the paper's number.
    """

    row: Row
    value: str
    says: str
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        row = ", ".join(f"{name} {value}" for name, value in self.row.items())
        return "; ".join([f"{row}: {self.says}", *self.remarks])


@dataclass(frozen=True)
class Score:
    """The agreement of a table, or of several added up.

    Attributes:
      d: verdicts by the distance, the paper's `d <= eta`.
      ncc: verdicts by NCC > .95.
      psnr: within `GAP` of the unmarked host, as in the paper.
      dearer: within `GAP`, too, where the paper's own mark costs more.
      edge: verdicts of `d` whose mean distance lies within `EDGE` of eta.
      measured: (count's name, numbers of the trials) behind `d` and `psnr`; tables share some.
      disagreements: every cell that is not as the paper's, of `d`, `ncc` and `psnr`.
    """

    d: Count = Count()
    ncc: Count = Count()
    psnr: Count = Count()
    dearer: Count = Count()
    edge: int = 0
    measured: frozenset = frozenset()
    disagreements: tuple[Disagreement, ...] = field(default=(), repr=False)

    @property
    def of_cells(self) -> int:
        """How many cells there are to compare, of any kind."""
        return sum(count.of_cells for count in (self.d, self.ncc, self.psnr, self.dearer))

    def __add__(self, other: Score) -> Score:
        return Score(self.d + other.d, self.ncc + other.ncc, self.psnr + other.psnr, self.dearer + other.dearer,
                     self.edge + other.edge, self.measured | other.measured, self.disagreements + other.disagreements)

    def __str__(self) -> str:
        near = f" ({self.edge} of them with a d within {EDGE:.0%} of η)" if self.edge else ""
        counted = [(title, count, f"{self._shared(name, count)}{near if name == 'd' else ''}")
                   for title, name, count in (
                       ("d verdicts agree", "d", self.d), ("NCC verdicts", "ncc", self.ncc),
                       (f"PSNR within {GAP} dB of the unmarked host", "psnr", self.psnr)) if count.of_cells]
        parts = [f"{title} in {count.told('' if i else ' cells')}{shared}"
                 for i, (title, count, shared) in enumerate(counted)]
        dearer = [f"{'' if self.psnr.of_cells else f'PSNR within {GAP} dB of the unmarked host '}in {self.dearer} of "
                  "those where the paper's own mark costs more"] if self.dearer.of_cells else []
        return ", ".join([*parts, *dearer]) or "no cell to compare"

    def _shared(self, name, count):
        """That some cells are of one measurement, where they are."""
        measurements = sum(one == name for one, _ in self.measured)
        return f" (at most {measurements} measurements: tables share some)" if 0 < measurements < count.of_cells else ""


def score(rows: Rows, paper: Paper, unmarked: Callable[[Row], float | None] = lambda row: None,
          printed: Callable[[Row], float | None] = lambda row: None) -> Score:
    """The score of one table.

    Args:
      rows: (row, values of its trials) pairs, where there are trials or none.
      paper: the paper's table.
      unmarked: row -> PSNR in dB of its unmarked host on the same images, or None where no such comparison is meant:
        at the unmarked host itself, and after an attack. `unmarked_in` makes one of a table that has those rows.
      printed: likewise of the paper's own numbers: where the paper's mark costs more than `GAP`, ours is `dearer`.

    Raises:
      PaperError: if a row leaves open which of the paper's lines is its own.
    """
    total = Score()
    for row, trials in rows:
        d, wrong_d = _verdicts("verified", "d ≤ η", row, trials, paper)
        ncc, wrong_ncc = _verdicts("ncc_verified", "NCC > .95", row, trials, paper)
        psnr, dearer, wrong_psnr = _fidelity(row, trials, unmarked(row), paper.find(row).get("psnr"), printed(row))
        measured = frozenset(
            (name, tuple(round(one, digits) for one in _found(value, trials)) or tuple(row.items()))
            for name, value, digits, count in (("d", "distance", 6, d), ("psnr", "psnr", 3, psnr)) if count.of_cells)
        edge = int(bool(d.of_cells) and _at_the_edge(trials))
        total += Score(d, ncc, psnr, dearer, edge, measured, (*wrong_d, *wrong_ncc, *wrong_psnr))
    return total


def unmarked_in(rows: Rows, **axes: str | float | bool) -> Callable[[Row], float | None]:
    """The `unmarked` of a table that has the unmarked hosts in rows of its own, those at `axes`: `lam=0`.

    Returns:
      A function from a row to the mean PSNR of the row that differs from it in `axes` only; None for such a row itself,
      and where it was not measured.
    """
    measured = {frozenset(row.items()): found for row, trials in rows if (found := _found("psnr", trials))}

    def unmarked(row: Row) -> float | None:
        host = {**row, **axes}
        found = measured.get(frozenset(host.items()))
        return None if host == dict(row) or not found else float(np.mean(found))

    return unmarked


def _at_the_edge(trials):
    """Whether the mean distance lies about eta; of schemes without one it does not."""
    distances, thresholds = _found("distance", trials), _found("threshold", trials)
    return bool(thresholds) and abs(np.mean(distances) / np.mean(thresholds) - 1.0) < EDGE


def _verdicts(value, rule, row, trials, paper):
    """The count of one cell of verdicts, and its disagreement if it has one."""
    found, line = _found(value, trials), paper.line(row)
    if not found or line is None or value not in line.values:
        return Count(), ()
    theirs = line.values[value]
    agreeing = sum(bool(verdict) == theirs for verdict in found)
    agrees = agreeing > len(found) / 2
    says = f"{rule} in {sum(map(bool, found))} of {len(found)} trials, in the paper {'yes' if theirs else 'no'}"
    says += f" (d within {EDGE:.0%} of η)" if value == "verified" and _at_the_edge(trials) else ""
    return (Count(int(agrees), 1, agreeing, len(found)),
            () if agrees else (Disagreement(row, value, says, line.remarks),))


def _fidelity(row, trials, host, theirs, their_host):
    """The count of a cell of PSNR, or of one where the paper's mark costs more, and its disagreement if it has one."""
    found = _found("psnr", trials)
    if not found or host is None or row.get("scheme", OWN[0]) not in OWN:
        return Count(), Count(), ()
    agrees = abs(np.mean(found) - host) <= GAP + ROUNDING
    agreeing = sum(abs(psnr - host) <= GAP + ROUNDING for psnr in found)
    count = Count(int(agrees), 1, agreeing, len(found))
    gap = None if theirs is None or their_host is None else theirs - their_host
    if gap is not None and abs(gap) > GAP + ROUNDING:
        return Count(), count, ()
    says = f"PSNR {np.mean(found):.2f} dB, {np.mean(found) - host:+.2f} dB from the unmarked host" + (
        "" if gap is None else f", in the paper {gap:+.2f}")
    return count, Count(), () if agrees else (Disagreement(row, "psnr", says),)


def _found(value, trials):
    """What the trials have of a value; a scheme without a verdict leaves it out."""
    return [trial[value] for trial in trials if trial.get(value) is not None]
