"""Table VII: does the mark survive fine-tuning, on the host's own data and on new ones?

The paper fine-tunes networks with batch norm for up to 100 epochs, as their authors trained them; every mark passes.
Adam at 10⁻⁴ is our reading. Adam moves a weight by its rate whatever its size, and kernels with batch norm are about
twice as large as ours, which were trained folded (docs/recipe.md): `rate` says whether a network is tuned at half of
10⁻⁴, which moves it as far relative to its size ("paper"), or at 10⁻⁴ ("hard"), our scheme only. VDSR has no batch
norms, so that both are one. An epoch is `Profile.epoch` steps here, far fewer than the 1,770 of the authors' code. One
run serves the five epochs: 75 to 100 minutes for each host, data and rate on 2 cores with AVX2 alone, a tenth of them
for the first row, a seventh of that with AVX512-BF16 or AMX; it resumes.

    python experiments/table7_finetuning.py
"""

from watermark.lab import measures, scripts
from watermark.hosts import HOSTS
from watermark.lab.paper import paper
from watermark.lab.profiles import RATES
from watermark.lab.tables import Table, grid
from watermark.schemes import MODULES, OURS

DATA = {"original": False, "new": True}
GRID = [row for row in grid(host=tuple(HOSTS), scheme=tuple(MODULES), data=tuple(DATA), rate=tuple(RATES),
                            epochs=(10, 25, 50, 75, 100))
        if row["rate"] == "paper" or HOSTS[row["host"]].norms and row["scheme"] == OURS]


def subject(profile, seed, host, scheme, data, rate, epochs):
    """A marked host that a thief has fine-tuned."""
    mark = profile.mark(host, seed, scheme)
    return mark.under(profile.finetuning(mark, epochs, DATA[data], rate))


TABLE = Table("table7_finetuning", "Table VII. Verification after fine-tuning, beside the paper's numbers.", GRID,
              subject, measures.FINETUNING, paper("table7_finetuning"))

if __name__ == "__main__":
    scripts.run(TABLE)
