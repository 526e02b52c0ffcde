"""Table XI: how large a key fits into a super-resolution network? On Set14, for keys of rising size; 0 is no key.

The size is that of the verification image, in pixels a side; the trigger has half of it. (The paper prints Table II's
numbers at 40, whose trigger is 20×20.) Keys of 80 and 160 take 10 to 28 minutes each on 2 cores with AVX512-BF16, the
three largest, not made yet, 20 to 30 in fewer steps.

    python experiments/table11_capacity_sr.py
"""

from watermark.lab import measures, scripts
from watermark.lab.paper import paper
from watermark.lab.tables import Table, grid

SIZES = (0, 20, 40, 80, 160, 320, 480, 600)
GRID = grid(host=("vdsr", "srdncnn"), size=SIZES, scale=(2, 3, 4))


def subject(profile, seed, host, size, scale):
    """A host that is marked with a key whose S has `size` pixels a side."""
    return profile.sized(host, seed, size) if size else profile.host(host)


TABLE = Table("table11_capacity_sr", "Table XI. Quality of super-resolution networks for keys of rising size, beside "
              "the paper's numbers.", GRID, subject, measures.CAPACITY, paper("table11_capacity_sr"), {"size": 0})

if __name__ == "__main__":
    scripts.run(TABLE)
