"""Table VIII: does the mark survive a further key, embedded by the same scheme?

In the paper ours passes and both baselines fail. An embedding takes 5 to 10 minutes on 2 cores with AVX512-BF16.

    python experiments/table8_overwriting.py
"""

from watermark.lab import measures, scripts
from watermark.hosts import HOSTS
from watermark.lab.paper import paper
from watermark.lab.tables import Table, grid
from watermark.schemes import MODULES

GRID = grid(host=tuple(HOSTS), scheme=tuple(MODULES))


def subject(profile, seed, host, scheme):
    """A marked host in which a thief has embedded a key of his own."""
    mark = profile.mark(host, seed, scheme)
    return mark.under(*profile.overwriting(mark, 1))


TABLE = Table("table8_overwriting", "Table VIII. Verification after a further key, beside the paper's numbers.", GRID,
              subject, measures.OVERWRITING, paper("table8_overwriting"))

if __name__ == "__main__":
    scripts.run(TABLE)
