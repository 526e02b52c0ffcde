"""Table XIII: how long embedding and verification take, by scheme and size of the key.

Seconds are of this machine, the paper does not say of which its own are; compare the ratios, and let nothing else run
beside it. Of each embedding a few steps are timed, so that no mark has to be there: 25 minutes a host on 2 cores with
AVX2.

    python experiments/table13_time.py
"""

import dataclasses

from watermark.lab import measures, scripts
from watermark.hosts import HOSTS
from watermark.lab.paper import paper
from watermark.lab.tables import Table, grid
from watermark.schemes import MODULES, OURS

SIZES = (40, 80, 160, 320, 480, 600)
GRID = grid(host=tuple(HOSTS), scheme=tuple(MODULES), size=SIZES)


def subject(profile, seed, host, scheme, size):
    """A mark, the one of the least size, and ours of the same size; a recipe takes as long whatever lambda it has."""

    def mark(size, scheme):
        return profile.mark(host, seed, scheme, size=size // HOSTS[host].scale,
                            recipe=profile.mark(host, seed, scheme).recipe)

    return {"mark": mark(size, scheme), "to_40": mark(SIZES[0], scheme), "to_ours": mark(size, OURS)}


def _with_ratios(printed):
    """The paper's seconds, and as ratios to its own of the least size and of ours."""

    def ratios(line):
        over = {"to_40": printed.find(line.axes | {"size": SIZES[0]}),
                "to_ours": printed.find(line.axes | {"scheme": OURS})}
        return {f"{what}_{name}": line.values[f"{what}_seconds"] / other[f"{what}_seconds"]
                for name, other in over.items() for what in ("embed", "verify")}

    return dataclasses.replace(printed, lines=tuple(
        dataclasses.replace(line, values=line.values | ratios(line)) for line in printed.lines))


TABLE = Table("table13_time", "Table XIII. Seconds of embedding and of verification, beside the paper's.", GRID,
              subject, measures.TIMING, _with_ratios(paper("table13_time")))

if __name__ == "__main__":
    scripts.run(TABLE)
