"""Table II: what a mark costs the super-resolution networks, on Set14 at ×2, ×3 and ×4.

The paper: less than 0.02 dB. A mark takes 10 to 15 minutes on 2 cores, a row half a minute.

    python experiments/table2_fidelity_sr.py
"""

from watermark.lab import measures, scripts
from watermark.lab.paper import paper
from watermark.lab.tables import Table, grid

GRID = grid(host=("vdsr", "srdncnn"), marked=(True, False), scale=(2, 3, 4))


def subject(profile, seed, host, marked, scale):
    """A host, marked or not."""
    return profile.mark(host, seed) if marked else profile.host(host)


TABLE = Table("table2_fidelity_sr", "Table II. Quality of marked super-resolution networks, beside the paper's "
              "numbers.", GRID, subject, measures.FIDELITY, paper("table2_fidelity_sr"))

if __name__ == "__main__":
    scripts.run(TABLE)
