"""Which generator made the paper's super-resolution keys? Distances of strangers' keys on unmarked hosts, by generator.

The paper prints a least distance of 9.4·10⁻³ (VDSR) and 9.5·10⁻³ (SR-DnCNN) among its keys and leaves ∇ and the
upsampling of K open. `sobel_xy_8bit`, the default, upsamples K with pixel centres aligned, `corner_sobel_xy_8bit` as
TensorFlow 1 did by default. 1 to 8 minutes a row on 2 cores.

    python experiments/sr_gradient.py --trials=1
"""

import dataclasses

from watermark.lab import measures, notes, scripts
from watermark.hosts import HOSTS
from watermark.lab.paper import paper
from watermark.lab.tables import Table, grid

TASK = "sr"
GRID = grid(host=tuple(name for name, host in HOSTS.items() if host.task == TASK), keys=(400,),
            gradient=("sobel_xy_8bit", "corner_sobel_xy_8bit", "sobel_xy"))


def subject(profile, seed, host, keys, gradient):
    """The unmarked host."""
    return profile.host(host)


TABLE = Table("sr_gradient", "Generators of super-resolution keys. Distances of strangers' keys on unmarked hosts, "
              "beside the paper's least.", GRID, subject,
              dataclasses.replace(measures.UNIQUENESS, notes=notes.strangers_notes),
              paper("table4_uniqueness_unmarked"))

if __name__ == "__main__":
    scripts.run(TABLE)
