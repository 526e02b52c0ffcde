"""The main of every experiment script: options, trials, records, table."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from watermark import files
from watermark.checkpoints import SHIPPED
from watermark.hosts import HOSTS, get_host
from watermark.lab.cluster import Ray
from watermark.lab.execution import Job, Local, Shard, Watch
from watermark.lab.lab import Lab
from watermark.lab.score import Score, score, unmarked_in
from watermark.lab.specs import Spec
from watermark.lab.store import Store
from watermark.lab.tables import Table, render
from watermark.lab.trial import identity, measured
from watermark.schemes import MODULES, OURS, UNMARKED, get_scheme

RESULTS = SHIPPED.parent / "results"  # what the project ships


@dataclass(frozen=True)
class Options:
    """What a run of a script was asked for beside its profile.

    Attributes:
      hosts: those of a table's rows that are made; None: those whose models are there.
      schemes: those whose rows are made; rows of the unmarked hosts are made whatever they are.
      rows: "axis=value" that rows are to have; of several values of one axis, any.
      stop_after: minutes after which no trial starts, or training stops; None for no end.
      reuse: whether records that the project ships count too.
      shard: the share of the trials that is made here, or None for all.
      ready: whether only trials are made whose models are there, so that nothing is trained.
      runner: makes the trials, an `execution.Local` or a `cluster.Ray`.
    """

    hosts: Sequence[str] | None = None
    schemes: Sequence[str] = (OURS,)
    rows: Sequence[str] = ()
    stop_after: float | None = None
    reuse: bool = False
    shard: Shard | None = None
    ready: bool = False
    runner: Local | Ray = Local()

    def __post_init__(self):
        if self.hosts is not None:
            object.__setattr__(self, "hosts", [get_host(name).name for name in self.hosts])
        for name in self.schemes:
            if name != UNMARKED:  # asked for or not, a table's rows of the hosts themselves are made
                get_scheme(name)

    def has(self, row: Mapping) -> bool:
        """Whether a row is asked for; an axis that it lacks does not matter."""
        wanted = {"scheme": (UNMARKED, *self.schemes)} | ({"host": self.hosts} if self.hosts is not None else {})
        return all(row.get(axis) in (None, *values) for axis, values in wanted.items()) and all(
            any(_is(row[axis], value) for value in values) for axis, values in self.values.items())

    @property
    def values(self) -> dict[str, list[str]]:
        """{axis: the values asked for} of `rows`."""
        told: list[str] = []
        for text in self.rows:
            told += [text] if "=" in text or not told else [f"{told.pop()}, {text}"]  # a value with a comma in it
        pairs = [pair.partition("=")[::2] for pair in told]
        return {axis: [value for name, value in pairs if name == axis] for axis, _ in pairs}

    def check(self, grid: Sequence[Mapping]) -> None:
        """A ValueError unless a table has the axes and the values of `rows`."""
        for axis, values in self.values.items():
            if not all(axis in row for row in grid):
                raise ValueError(f"--rows={axis}=…: expected an axis of the table, {', '.join(grid[0])}")
            there = list(dict.fromkeys(str(row[axis]) for row in grid))
            if unknown := [value for value in values if not any(_is(row[axis], value) for row in grid)]:
                raise ValueError(f"--rows={axis}={unknown[0]}: expected one of {', '.join(there)}")


def _is(value, told):
    """Whether an axis has the value that a flag names: 0.30 is 0.3, true is True."""
    if isinstance(value, bool):
        return str(value).lower() == told.lower()
    if isinstance(value, float):
        with contextlib.suppress(ValueError):
            return value == float(told)
    return str(value) == told


def make(lab: Lab, table: Table, options: Options = Options()) -> str:
    """Makes the trials of `table` that are missing, then prints it. Returns its text.

    What is written has the rows and trials beside those asked for, too, where there are records: it never loses any.
    """
    trials = Trials(lab, table, options)
    trials.make()
    print(text := trials.text())
    write(trials.whole())
    return text


def write(trials: Trials) -> str:
    """Writes the page of a table, and returns its text."""
    text = trials.text()
    files.write(results(trials.lab) / f"{trials.table.name}.md", text + "\n")
    return text


def _none(grid, options):
    asked = [f"--{name}={','.join(values)}" for name in ("hosts", "schemes", "rows")
             if (values := getattr(options, name))]
    there = [f"{axis} {', '.join(dict.fromkeys(str(row[axis]) for row in grid))}" for axis in ("host", "scheme")
             if axis in grid[0]]
    return f"no row of the table has {' '.join(asked)}; it has {'; '.join(there)}"


def results(lab: Lab) -> Path:
    """The folder of a lab's records, tables and figures."""
    return Path(lab.workdir) / "results" / lab.profile.name


def records(lab: Lab, table: Table, options: Options = Options()) -> list[tuple[dict, list[dict]]]:
    """[(row, values of its trials)] of `table`, the trials that are missing made first."""
    trials = Trials(lab, table, options)
    trials.make()
    return trials.pairs()


@dataclass
class Trials:
    """The trials of a table's rows: which records there are of them, and making those that are missing."""

    lab: Lab
    table: Table
    options: Options = Options()
    rows: list = field(init=False)
    store: Store = field(init=False)

    def __post_init__(self):
        shipped = [RESULTS / self.lab.profile.name] if self.options.reuse else []
        shard = self.options.shard.name if self.options.shard else ""
        self.store = Store(results(self.lab), self.table.name, shard, shipped, ("row", "seed"))
        self.rows = chosen(self.lab, self.table, self.options)

    def identity(self, row: Mapping, seed: int, resolved: bool = False) -> str:
        """The id of a trial's record, `trial.identity`."""
        return identity(self.lab, self.table, row, seed, resolved)

    def record(self, row: Mapping, seed: int) -> dict | None:
        """What is kept of a trial: a record on the sets that the table asks for, else one on their stand-ins."""
        if wanted := self.store.records.get(self.identity(row, seed)):
            return wanted
        if not any((record["row"], record["seed"]) == (row, seed) for record in self.store.records.values()):
            return None  # before anything is downloaded to find out that it stands in
        return self.store.records.get(self.identity(row, seed, resolved=True))

    def make(self) -> None:
        """Makes the trials that are missing, one record each."""
        if not self.rows:
            raise ValueError(_none(self.table.grid, self.options))
        todo = [Job(i, seed, self._group(row, seed)) for i, row in enumerate(self.rows)
                for seed in self.seeds(row) if not self.record(row, seed)]
        if self.options.shard:
            todo = [job for job in todo if self.options.shard.has(job)]
        if self.options.ready:
            needs = self.table.measure.needs
            todo = [job for job in todo if all(
                self.lab.ready(needs(spec)) for spec in self.subjects(self.rows[job.row], job.seed).values())]
        make = functools.partial(measured, self.lab, self.table, self.rows)
        watch = Watch(self.table.name, self.options.stop_after, self._claim)
        if not self.options.runner.run(todo, make, self.store.add, watch):
            self.lab.log(f"NOTE: stopped after {self.options.stop_after:g} minutes; the same command goes on")

    def subjects(self, row: Mapping, seed: int) -> dict[str, Spec]:
        """{name: spec} of a trial."""
        return self.table.subjects(self.lab.profile, seed, row)

    def _group(self, row, seed):
        return next(iter(self.subjects(row, seed).values())).root.name

    @contextlib.contextmanager
    def _claim(self, job):
        """Whether a trial is still to be made; within, no other process of this work folder makes it."""
        name = self.identity(self.rows[job.row], job.seed, resolved=True)
        with files.locked(Path(self.lab.workdir) / "runs" / "trials" / name):
            self.store.refresh()
            yield name not in self.store.records

    def pairs(self) -> list[tuple[dict, list[dict]]]:
        """[(row, values of its trials)] by the records there are, as the table compares them."""
        compared = self.table.measure.compared
        return [(row, [compared(row, record["values"]) for record in self._records(row)]) for row in self.rows]

    def has(self, row: Mapping) -> bool:
        """Whether there is a trial of a row."""
        return bool(self._records(row))

    def _records(self, row):
        return list(filter(None, (self.record(row, seed) for seed in self.seeds(row))))

    def whole(self, beyond: bool = True) -> Trials:
        """The same with every row that has a trial, and the seeds that have; `beyond` those of the profile, too."""
        there = {record["seed"] for record in self.store.records.values()} if beyond else set()
        options = dataclasses.replace(self.options, hosts=list(HOSTS), schemes=list(MODULES), rows=())
        wide = Trials(self._over(there.union(self.lab.profile.seeds)), self.table, options)
        found = {record["seed"] for row in wide.rows for record in wide._records(row)}
        wide.lab = self._over(found.union(self.lab.profile.seeds if beyond else ()) or {0})
        wide.rows = [row for row in wide.rows if wide.has(row) or beyond and row in self.rows]
        return wide

    def _over(self, seeds):
        """The lab, with the trials from the first to the last of some seeds."""
        trials = max(seeds) + 1 - min(seeds)
        profile = dataclasses.replace(self.lab.profile, first_seed=min(seeds), trials=trials)
        return dataclasses.replace(self.lab, profile=profile)

    def seeds(self, row: Mapping) -> range:
        """Those of a row's trials: 0 alone where others would measure the same models again, as of unmarked hosts."""
        one, other = (self.subjects(row, seed) for seed in (0, 1))
        return range(1) if one == other else self.lab.profile.seeds

    def score(self) -> Score:
        """How far the verdicts agree with the paper's, and the quality with the unmarked hosts'."""
        return self._score(self.pairs())

    def _score(self, pairs):
        if self.table.unmarked is None:
            return score(pairs, self.table.paper)
        printed = [(row, [self.table.paper.find(row)]) for row in self.rows]
        return score(pairs, self.table.paper, *(unmarked_in(some, **self.table.unmarked) for some in (pairs, printed)))

    def text(self) -> str:
        """Caption, table, score and protocol, as the records stand."""
        pairs = self.pairs()
        agreement = self._score(pairs)
        verdicts = agreement.d.of_cells + agreement.ncc.of_cells
        cells = "the paper's cells" if verdicts else "the marked rows"
        counted = [f"Of {cells}: {agreement}."] if agreement.of_cells else []
        slips = self.table.paper.slips(row for row, trials in pairs if trials)
        counted += [f"Of the paper's numbers: {'; '.join(slips)}."] if slips else []
        found, planned = [trials for _, trials in pairs], [len(self.seeds(row)) for row in self.rows]
        drawn = render(self.rows, found, self.table, planned)
        return "\n\n".join([self.table.caption, drawn, *counted, self.protocol()])

    def protocol(self) -> str:
        """What was reduced, for the table's foot: from the records themselves where there are any."""
        clauses: dict[str, None] = {}
        for row in self.rows:
            wanted = self.table.measure.wanted(row)
            for record in self._records(row):
                data = record["provenance"]["data"]
                instead = f" in place of {wanted}" if data["test"] != wanted else ""
                attacked = f", attacked with {' and '.join(data['attack'])}" if data.get("attack") else ""
                host = get_host(row["host"]).title
                judged = f", measured on {data['test']}{instead}" if self.table.measure.on_images else ""
                clauses[f"{host} trained on {data['train']}{attacked}{judged}"] = None
        profile = self.lab.profile
        subjects = [spec for row in self.rows for spec in self.subjects(row, self.seeds(row)[0]).values()]
        notes = self.table.measure.notes(profile, subjects)
        return "; ".join([f"Profile {profile.name}", *notes, *clauses]) + "."


def chosen(lab: Lab, table: Table, options: Options) -> list[dict]:
    """The rows asked for; without `hosts`, those whose models are there, and a line on the others.

    A host that is trained but not marked for every trial is left out too, if another one is ready: a table of what the
    project ships takes minutes, a mark minutes each.
    """
    options.check(table.grid)
    if options.hosts is None:
        rows = [row for row in table.grid if options.has(row)]
        every = list(dict.fromkeys(row["host"] for row in rows))
        ready = [host for host in every if all(lab.ready(spec) for spec in _roots(lab, table, rows, host))]
        trained = [host for host in every if lab.ready(lab.profile.host(host))]
        hosts = ready or trained or every[:1]
        if left := [host for host in every if host not in hosts]:
            lab.log(f"NOTE: not all models of {', '.join(left)} are made yet for profile {lab.profile.name}; name "
                    f"them, --hosts={','.join(left)}, to make the marks; hosts: python experiments/train_hosts.py")
        options = dataclasses.replace(options, hosts=hosts)
    return [row for row in table.grid if options.has(row)]


def _roots(lab, table, rows, host) -> set[Spec]:
    return {spec.root for row in rows if row["host"] == host for seed in lab.profile.seeds
            for spec in table.subjects(lab.profile, seed, row).values()}
