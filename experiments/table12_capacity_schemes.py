"""Table XII: what larger keys cost by each scheme.

The paper: ours loses less than Base-1 (deepsigns) at every size. The largest takes 10 to 30 minutes on 2 cores with
AVX512-BF16, in fewer steps.

    python experiments/table12_capacity_schemes.py
"""

from watermark.lab import measures, scripts
from watermark.hosts import HOSTS
from watermark.lab.paper import paper
from watermark.lab.tables import Table, grid
from watermark.schemes import MODULES

GRID = [row for row in grid(host=tuple(HOSTS), scheme=tuple(MODULES), size=(40, 160, 320, 600))
        if paper("table12_capacity_schemes").find(row)]


def subject(profile, seed, host, scheme, size):
    """A host that a scheme has marked with a key whose S has `size` pixels a side."""
    return profile.sized(host, seed, size, scheme)


TABLE = Table("table12_capacity_schemes", "Table XII. Quality for keys of rising size by each scheme, beside the "
              "paper's numbers.", GRID, subject, measures.CAPACITY, paper("table12_capacity_schemes"))

if __name__ == "__main__":
    scripts.run(TABLE)
