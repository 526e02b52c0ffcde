"""Table II: what a mark costs the super-resolution networks, on Set14 at ×2, ×3 and ×4.

The paper: at most 0.02 dB. A mark takes 5 to 10 minutes on 2 cores with AVX512-BF16, a row 1 to 8.

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
              "numbers.", GRID, subject, measures.FIDELITY, paper("table2_fidelity_sr"), {"marked": False})

if __name__ == "__main__":
    scripts.run(TABLE)
