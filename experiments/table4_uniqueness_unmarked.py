"""Table IV: how near strangers' keys come to an unmarked host, d(S₀, M(K)) of up to 1,000 fresh keys.

The paper prints the least of them, 9.4 to 11.7·10⁻³; η is 6.07·10⁻³. One query of 1,000 keys serves all rows of a
model: half a minute a host on 2 cores.

    python experiments/table4_uniqueness_unmarked.py
"""

from watermark.lab import measures, scripts
from watermark.hosts import HOSTS
from watermark.lab.paper import paper
from watermark.lab.tables import Table, grid

GRID = grid(host=tuple(HOSTS), keys=(200, 400, 600, 800, 1000))


def subject(profile, seed, host, keys):
    """The unmarked host."""
    return profile.host(host)


TABLE = Table("table4_uniqueness_unmarked", "Table IV. Distances of strangers' keys on unmarked hosts; the paper "
              "prints the least.", GRID, subject, measures.UNIQUENESS, paper("table4_uniqueness_unmarked"))

if __name__ == "__main__":
    scripts.run(TABLE)
