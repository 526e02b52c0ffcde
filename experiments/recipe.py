"""The embedding recipe, judged by everything at once: fidelity, uniqueness, and all three attacks.

Rows are variants of the profile's recipe; docs/recipe.md discusses them. The fine-tuning attack takes as many steps
as the embedding, at the host's final learning rate. About 20 minutes a variant and seed on 2 cores.

    python experiments/recipe.py --trials=1
"""

import numpy as np

from watermark.lab import measures, scripts
from watermark import inference, metrics
from watermark.attacks import Finetune, Prune
from watermark.attacks.finetuning import LEARNING_RATE
from watermark.keys import random_keys
from watermark.lab.profiles import FINETUNING
from watermark.lab.tables import Column, Measure, Table, grid
from watermark.schemes import get_scheme

RATES = (0.25, 0.30, 0.35, 0.40)
VARIANTS = {
    "as in the profile": {},
    "the paper's loss, Adam": {"preserving": 0.0, "optimizer": "adam", "learning_rate": 3e-4, "strength": 1e-3,
                               "decay": 1.0, "lookahead": 0.0},
}
GRID = grid(host=("dncnn",), scheme=("ours",), variant=tuple(VARIANTS))
COLUMNS = (
    Column("PSNR loss (dB)", "psnr_loss", form=".3f"),
    Column("d(S₀, M(K)) (10⁻³)", "initial", 1e3),
    Column("100 other keys, mean d", "others_mean", 1e3),
    Column("least", "others_least", 1e3),
    *(Column(f"{rate:.0%} pruned", f"pruned_{rate:.2f}", 1e3) for rate in RATES),
    Column("overwritten", "overwritten", 1e3),
    Column("fine-tuned", "finetuned", 1e3),
    Column("its ρ", "finetuned_rho", form=".2f"),
    Column("its p", "finetuned_p", form=".1e"),
    Column("its PSNR loss", "finetuned_psnr_loss", form=".3f"),
)


def subject(profile, seed, host, scheme, variant):
    """A mark and all that is done to it."""
    mark = profile.mark(host, seed, scheme, **VARIANTS[variant])
    tuning = Finetune(mark.recipe.steps, LEARNING_RATE, mark.recipe.batch_size, mark.recipe.patch, mark.train_set,
                      FINETUNING)
    return {"mark": mark, "finetuned": mark.under(tuning), "overwritten": mark.under(*profile.overwriting(mark, 1)),
            **{f"pruned_{rate:.2f}": mark.under(Prune(rate)) for rate in RATES}}


def values(lab, subjects, row):
    """All numbers of one marked model; distances to its S unless a column says otherwise."""
    subjects = dict(subjects)
    mark = subjects.pop("mark")
    key, marked = lab.key(mark), lab.get(mark)
    host_psnr = measures.psnr(lab, lab.get(mark.parent), mark.host)
    triggers, initials = random_keys(key.kind, 100, label="other")
    answers = inference.as_suspect(marked, key.kind)(triggers)
    others = [metrics.distance(a, b) for a, b in zip(answers, initials, strict=True)]
    verify = get_scheme(mark.scheme).verify
    verdict = verify(lab.get(subjects["finetuned"]), key, null_keys=lab.profile.null_keys)
    return {
        "psnr_loss": host_psnr - measures.psnr(lab, marked, mark.host),
        "initial": metrics.distance(key.initial, key.verification),
        "others_mean": float(np.mean(others)),
        "others_least": float(np.min(others)),
        **{name: verify(lab.get(spec), key, null_keys=0).distance for name, spec in subjects.items()},
        "finetuned_rho": verdict.rho,
        "finetuned_p": verdict.p_value,
        "finetuned_psnr_loss": host_psnr - measures.psnr(lab, lab.get(subjects["finetuned"]), mark.host),
    }


TABLE = Table("recipe", "The embedding recipe. Distances in 10⁻³; the threshold η is 6.07.", GRID, subject,
              Measure(values, COLUMNS, measures.evidence_notes))

if __name__ == "__main__":
    scripts.run(TABLE)
