"""Table V: how near strangers' keys come to a marked host, d(S₀, M(K)) of up to 1,000 fresh keys.

The paper prints the least of them, 6.97 to 7.42·10⁻³; η is 6.07·10⁻³. One query of 1,000 keys serves all rows of a
model: half a minute a host on 2 cores, once it is marked.

    python experiments/table5_uniqueness_marked.py
"""

from watermark.lab import measures, scripts
from watermark.hosts import HOSTS
from watermark.lab.paper import paper
from watermark.lab.tables import Table, grid

GRID = grid(host=tuple(HOSTS), keys=(200, 400, 600, 800, 1000))


def subject(profile, seed, host, keys):
    """The marked model of a trial."""
    return profile.mark(host, seed)


TABLE = Table("table5_uniqueness_marked", "Table V. Distances of strangers' keys on marked hosts; the paper prints "
              "the least.", GRID, subject, measures.UNIQUENESS, paper("table5_uniqueness_marked"))

if __name__ == "__main__":
    scripts.run(TABLE)
