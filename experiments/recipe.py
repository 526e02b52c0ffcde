"""The embedding recipe, judged by everything at once: fidelity, uniqueness, and all three attacks.

Rows are variants of the profile's recipe; docs/recipe.md discusses them. The fine-tuning attack takes as many steps
as the embedding, at the host's final learning rate. About 20 minutes a variant and seed on 2 cores.

    python experiments/recipe.py --trials=1
"""

import dataclasses

import numpy as np

from watermark import inference, metrics
from watermark.attacks import prune
from watermark.hosts import HOSTS
from watermark.keys import random_keys
from watermark.lab import runner
from watermark.lab.pipeline import SCHEMES
from watermark.lab.profiles import FINAL_LEARNING_RATE
from watermark.lab.tables import Column, Table
from watermark.tasks import TASKS
from watermark.verification import null_label

RATES = (0.25, 0.30, 0.35, 0.40)
PLAIN = {"others": 0.0, "optimizer": "adam", "learning_rate": 3e-4, "strength": 1e-3, "boost": 1.0, "reach": 0.0}
VARIANTS = {"as in the profile": {}, "the paper's loss, Adam": PLAIN}
GRID = [{"host": "dncnn", "scheme": "ours", "variant": variant} for variant in VARIANTS]
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


def trial(lab, seed, host, scheme, variant):
    """All numbers of one marked model; distances to its S unless a column says otherwise."""
    embed = dataclasses.replace(lab.profile.marking(host), **VARIANTS[variant])
    lab = dataclasses.replace(lab, profile=dataclasses.replace(lab.profile, embed=embed, particular={}))
    marked, key = lab.marked(host, seed, scheme)
    verify = SCHEMES[scheme].verify
    task, images = TASKS[HOSTS[host].task], lab.test_images(host)[1]
    psnr = {name: inference.evaluate(model, task, images).mean()
            for name, model in (("host", lab.host(host)), ("marked", marked))}
    tuned = lab.finetuned(host, seed, steps=embed.steps, learning_rate=FINAL_LEARNING_RATE, scheme=scheme)
    verdict = verify(tuned, key, null_keys=lab.profile.null_keys, fresh_seed=null_label(key))
    triggers, initials = random_keys(key.kind, 100, label="other")
    answers = inference.as_suspect(marked, key.kind)(triggers)
    others = [metrics.distance(a, b) for a, b in zip(answers, initials, strict=True)]
    values = {
        "psnr_loss": psnr["host"] - psnr["marked"],
        "initial": metrics.distance(key.initial, key.verification),
        "others_mean": np.mean(others),
        "others_least": np.min(others),
        "overwritten": verify(lab.overwritten(host, seed, scheme=scheme), key, null_keys=0).distance,
        "finetuned": verdict.distance,
        "finetuned_rho": verdict.rho,
        "finetuned_p": verdict.p_value,
        "finetuned_psnr_loss": psnr["host"] - inference.evaluate(tuned, task, images).mean(),
    }
    values |= {f"pruned_{rate:.2f}": verify(prune(marked, rate), key, null_keys=0).distance for rate in RATES}
    return {name: float(value) for name, value in values.items()}


TABLE = Table("recipe", "The embedding recipe. Distances in 10⁻³; the threshold η is 6.07.", GRID, trial, {}, COLUMNS)

if __name__ == "__main__":
    runner.run(TABLE)
