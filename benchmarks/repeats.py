"""How far is a number from itself, when its row is made again? By the project's own history of its records.

An id stands for how a model is made and measured, not for its weights: made again on another machine, or in the other
arithmetic, a mark is not the same to the bit. Of every record that git has had with two distances this prints both, and
how far they lie apart; a measurement that is a row of two tables counts once. Needs a checkout with its history; half a
minute.

    python benchmarks/repeats.py
"""

import json
import subprocess
from pathlib import Path

import numpy as np

from watermark.lab import scripts
from watermark.errors import first_line

ROOT = Path(__file__).parents[1]
RECORDS = "results/quick"
SAME = 1e-4  # of a distance: nearer, the same model was measured again


def _git(*command):
    try:
        return subprocess.run(["git", "-C", str(ROOT), *command], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        why = first_line(RuntimeError(getattr(error, "stderr", "") or error))
        raise ValueError(f"{ROOT} has no history that git can read ({why})") from error


def versions():
    """{(table, id): {distance: values}} of all records of ours that were ever committed, as they came."""
    found = {}
    for line in _git("log", "--reverse", "-p", "--unified=0", "--format=", "--", f"{RECORDS}/*.jsonl").splitlines():
        if not line.startswith("+{"):
            continue
        record = json.loads(line[1:])
        if {"distance", "rho"} <= record["values"].keys():
            found.setdefault((record["table"], record["id"]), {})[record["values"]["distance"]] = record
    return found


def repeats(found):
    """[(record, the same made again)] of what `versions` gives, each measurement once, however many tables have it."""
    pairs = {}
    for several in found.values():
        records = list(several.values())
        for one, two in zip(records, records[1:], strict=False):
            before, after = (record["values"]["distance"] for record in (one, two))
            if abs(after / before - 1.0) >= SAME:
                pairs.setdefault((*one.get("subject", ()), before, after), (one, two))
    return list(pairs.values())


def main():
    """Prints each repeat, then the median and the most."""
    apart = []
    for record, again in repeats(versions()):
        before, after = record["values"], again["values"]
        apart.append(abs(after["distance"] / before["distance"] - 1.0))
        row = ", ".join(f"{name} {value}" for name, value in record["row"].items())
        z = "".join(f" (z {one['z_score']:.1f} to {two['z_score']:.1f})" for one, two in [(before, after)]
                    if "z_score" in one and "z_score" in two)
        print(f"{record['table']}: {row}: d {1e3 * before['distance']:.3f} to {1e3 * after['distance']:.3f}e-3{z}")
    if not apart:
        raise ValueError(f"no record was made twice in the history of {ROOT}; a shallow clone has only a part of it")
    print(f"{len(apart)} repeats: d is {np.median(apart):.1%} apart in the median, {max(apart):.1%} at most")


if __name__ == "__main__":
    scripts.run_script(main)
