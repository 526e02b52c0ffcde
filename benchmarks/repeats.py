"""How far is a number from itself, when its row is made again? By the project's own history of its records.

An id stands for how a model is made and measured, not for its weights: made again on another machine, or in the other
arithmetic, a mark is not the same to the bit. Of every record that git has had with two distances this prints both, and
how far they lie apart. Needs a checkout with its history; half a minute.

    python benchmarks/repeats.py
"""

import json
import subprocess
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
RECORDS = "results/quick"
SAME = 1e-4  # of a distance: nearer, the same model was measured again


def _git(*command):
    return subprocess.run(["git", "-C", str(ROOT), *command], capture_output=True, text=True, check=True).stdout


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


def main():
    """Prints each repeat, then the median and the most."""
    apart = []
    for (table, _), several in versions().items():
        values = [record["values"] for record in several.values()]
        for before, after in zip(values, values[1:], strict=False):
            if (far := abs(after["distance"] / before["distance"] - 1.0)) < SAME:
                continue
            apart.append(far)
            row = ", ".join(f"{name} {value}" for name, value in next(iter(several.values()))["row"].items())
            z = "".join(f" (z {one['z_score']:.1f} to {two['z_score']:.1f})" for one, two in [(before, after)]
                        if "z_score" in one and "z_score" in two)
            print(f"{table}: {row}: d {1e3 * before['distance']:.3f} to {1e3 * after['distance']:.3f}e-3{z}")
    print(f"{len(apart)} repeats: d is {np.median(apart):.1%} apart in the median, {max(apart):.1%} at most")


if __name__ == "__main__":
    main()
