"""One trial of a table: what its record is called, and making it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from watermark.files import digest
from watermark.lab.execution import Job
from watermark.lab.lab import Lab
from watermark.lab.specs import attack_sets
from watermark.lab.store import machine
from watermark.lab.tables import Table
from watermark.training import identified


def identity(lab: Lab, table: Table, row: Mapping, seed: int, resolved: bool = False) -> str:
    """The id of a trial's record; `resolved`: on the stand-ins of image sets that cannot be had.

    It is over the subjects' names, hence all that they are made of, and over how they are measured.
    """
    subjects, test_set = table.subjects(lab.profile, seed, row).values(), table.measure.wanted(row)
    if resolved:
        subjects, test_set = map(lab.resolve, subjects), _test_set(lab, table, row)
    settings = {"null_keys": lab.profile.null_keys, "crop": lab.profile.crop, "test_set": test_set}
    return digest(table.name, [spec.name for spec in subjects], settings, row, seed)


def measured(lab: Lab, table: Table, rows: Sequence[Mapping], job: Job) -> dict:
    """The record of one trial, made on this machine."""
    row, start = rows[job.row], time.monotonic()
    subjects = {name: lab.resolve(spec) for name, spec in table.subjects(lab.profile, job.seed, row).items()}
    name = identity(lab, table, row, job.seed, resolved=True)
    values = table.measure.values(lab, subjects, row)
    data = {"train": table.measure.trained or next(iter(subjects.values())).root.train_set,
            "test": _test_set(lab, table, row)}
    if sets := list(dict.fromkeys(name for spec in subjects.values() for name in attack_sets(spec))):
        data["attack"] = sets
    # An id is of how a model is made; made again, on another machine, it is not the same to the bit.
    kept = [] if table.measure.trained else [*filter(None, dict.fromkeys(map(lab.nearest, subjects.values())))]
    weights = {spec.name: identified(lab.get(spec))[:12] for spec in kept}
    arithmetic = lab.arithmetic(kept[0]) if kept else lab.compute.effective
    provenance = machine() | {"data": data, "arithmetic": arithmetic, "weights": weights,
                              "seconds": round(time.monotonic() - start, 2)}
    return {"id": name, "table": table.name, "row": row, "seed": job.seed,
            "subject": [spec.name for spec in subjects.values()], "values": values, "provenance": provenance}


def _test_set(lab, table, row):
    """The set that a row is measured on; where no image is asked for, the name alone, which its id has."""
    wanted = table.measure.wanted(row)
    return lab.images.test_name(wanted) if table.measure.on_images else wanted
