"""What a generator of super-resolution keys does to a mark: fidelity, strangers' keys, pruning.

`sr_gradient.py` compares generators on unmarked hosts; `sobel_xy_8bit` is the default, whose marks ship. A row is one
mark and what follows from it, 5 minutes on 2 cores with AVX512-BF16 where the mark ships (20 with AVX2 alone); making
one takes 5 to 10 minutes more, seven times as long with AVX2. Expected: strangers farther off with
`corner_sobel_xy_8bit`.

    python experiments/sr_gradient_marks.py --trials=1
"""

from recipe import AFTER_PRUNING, PRUNED, UNTOUCHED, pruned, values
from sr_gradient import GRID as UNMARKED

from watermark.lab import notes, scripts
from watermark.lab.tables import Measure, Table, grid
from watermark.schemes import OURS

RATES = PRUNED[:4]  # as far as Table VI
GRID = grid(host=tuple(dict.fromkeys(row["host"] for row in UNMARKED)), scheme=(OURS,),
            gradient=("sobel_xy_8bit", "corner_sobel_xy_8bit"))
COLUMNS = (*UNTOUCHED, *AFTER_PRUNING[:len(RATES)])


def subject(profile, seed, host, scheme, gradient):
    """A mark, whole and pruned."""
    mark = profile.mark(host, seed, scheme, gradient=gradient)
    return {"mark": mark} | pruned(mark, RATES)


TABLE = Table("sr_gradient_marks", "Generators of super-resolution keys, marked. Distances in 10⁻³; the threshold η is "
              "6.07.", GRID, subject, Measure(values, COLUMNS, notes.evidence_notes))

if __name__ == "__main__":
    scripts.run(TABLE)
