"""Beside the paper: how far does a mark last when fine-tuning goes on and on?

Table VII's epochs are short here; this is one fine-tuning of 10,000 steps of 32 patches, on original and new data, at
10⁻⁴ on the folded network ("hard") and at the paper's relative rate. The five lengths, a row each, share one run: one
hour for each data and rate on 2 cores with AMX, about seven with AVX2 alone; it resumes.

    python experiments/finetuning_course.py --trials=1 --hosts=dncnn --rows=data=original,rate=hard
"""

import dataclasses

from table7_finetuning import DATA

from watermark.lab import measures, scripts
from watermark.lab.profiles import RATES
from watermark.lab.tables import Column, Table, grid
from watermark.schemes import OURS

STEPS = (100, 300, 1000, 3000, 10_000)
GRID = grid(host=("dncnn",), scheme=(OURS,), data=tuple(DATA), rate=tuple(RATES), steps=STEPS)


def subject(profile, seed, host, scheme, data, rate, steps):
    """A marked host after so many steps of a thief's fine-tuning."""
    mark = profile.mark(host, seed, scheme)
    return mark.under(profile.finetuning_steps(mark, steps, DATA[data], rate))


TABLE = Table("finetuning_course", "A long fine-tuning. d in 10⁻³; the threshold η is 6.07.", GRID, subject,
              dataclasses.replace(measures.FINETUNING, columns=(
                  *measures.FINETUNING.columns, Column("z of ρ", "z_score", form=".1f"))))

if __name__ == "__main__":
    scripts.run(TABLE)
