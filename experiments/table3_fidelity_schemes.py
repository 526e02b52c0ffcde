"""Table III: what the mark of each scheme costs, on the host's first test set.

The paper: ours at most 0.01 dB, Base-1 (deepsigns) 0.10 to 0.29, Base-2 (adi) 0.12 to 0.31. A mark takes 5 to 10
minutes on 2 cores with AVX512-BF16, a row half a minute to seven.

    python experiments/table3_fidelity_schemes.py
"""

from watermark.lab import measures, scripts
from watermark.hosts import HOSTS
from watermark.lab.paper import paper
from watermark.lab.tables import Table, grid
from watermark.schemes import MODULES, UNMARKED

GRID = grid(host=tuple(HOSTS), scheme=(UNMARKED, *MODULES))


def subject(profile, seed, host, scheme):
    """A host that a scheme has marked, or none."""
    return profile.model(host, seed, scheme)


TABLE = Table("table3_fidelity_schemes", "Table III. Quality of the hosts as each scheme marks them, beside the "
              "paper's numbers.", GRID, subject, measures.FIDELITY, paper("table3_fidelity_schemes"),
              {"scheme": UNMARKED})

if __name__ == "__main__":
    scripts.run(TABLE)
