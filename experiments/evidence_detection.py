"""Beyond the paper: what does each statistic still find after every attack?

For each attacked model the own key is ranked among a thousand fresh ones by four statistics, each found if the own
key comes first, a false-positive rate of 1e-3: the distance d, the paper's NCC, the correlation of residuals with S₀
(ρ, the evidence's) and with S. Beside them stand the paper's rule d <= η and the evidence rule. Rows take seconds once
their models are kept, most of which figS2_finetuning.py and figS3_overwriting.py make too; from nothing, 35 minutes a
host.

    python experiments/evidence_detection.py --trials=1
"""

import numpy as np

from watermark import inference, keys, metrics, verification
from watermark.attacks import prune
from watermark.hosts import HOSTS, get_host
from watermark.lab import runner
from watermark.lab.profiles import FINAL_LEARNING_RATE
from watermark.lab.tables import Column, Table

NEW = "fine-tuned, new data"  # kth_tips_train for denoising, urban100 for super-resolution


def _finetuned(lab, host, seed, epochs, train_set=None):
    return lab.finetuned(host, seed, steps=epochs * lab.profile.epoch, learning_rate=FINAL_LEARNING_RATE,
                         train_set=train_set)


ATTACKS = {
    "none": lambda lab, host, seed, strength: lab.marked(host, seed)[0],
    "pruned": lambda lab, host, seed, strength: prune(lab.marked(host, seed)[0], strength / 100),
    "fine-tuned": _finetuned,
    NEW: lambda lab, host, seed, strength: _finetuned(lab, host, seed, strength, get_host(host).other_set),
    "overwritten": lambda lab, host, seed, strength: lab.overwritten(host, seed, keys=strength),
}
# Per cent of the weights, epochs of `Profile.epoch` steps, further keys.
STRENGTHS = {"none": (0,), "pruned": (20, 30, 40, 50, 60), "fine-tuned": (5, 15, 50),
             NEW: (50,), "overwritten": (1, 5)}
GRID = [{"host": host, "scheme": "ours", "attack": attack, "strength": strength}
        for host in HOSTS for attack in ATTACKS for strength in STRENGTHS[attack]]
COLUMNS = (
    Column("d (10⁻³)", "distance", 1e3),
    Column("ρ", "rho", form=".3f"),
    Column("z of ρ", "z_score", form=".1f"),
    Column("d ≤ η", "verified", form=None),
    Column("evidence", "evident", form=None),
    Column("first by d", "first_distance", form=None),
    Column("by NCC", "first_ncc", form=None),
    Column("by ρ", "first_rho", form=None),
    Column("by ρ with S", "first_rho_s", form=None),
)


def trial(lab, seed, host, scheme, attack, strength):
    """The verdict, and whether each statistic puts the own key first."""
    key = lab.marked(host, seed, scheme)[1]
    ask = inference.as_suspect(ATTACKS[attack](lab, host, seed, strength), key.kind)
    triggers, initials = keys.random_keys(key.kind, lab.profile.null_keys, verification.null_label(key))
    answers, own = ask(triggers), ask(key.trigger[None])
    rhos = verification.residual_correlation(triggers, answers, initials, key.kind)
    verdict = verification.judge(own[0], rhos, key)
    rho_s = verification.residual_correlation(key.trigger[None], own, key.verification[None], key.kind)[0]
    others = list(zip(answers, initials, strict=True))
    return {
        "distance": verdict.distance, "rho": verdict.rho, "z_score": verdict.z_score, "verified": verdict.verified,
        "evident": verdict.stands_out,
        "first_distance": bool(verdict.distance < min(metrics.distance(a, S) for a, S in others)),
        "first_ncc": bool(verdict.ncc > max(metrics.ncc(a, S) for a, S in others)),
        "first_rho": bool(verdict.rho > np.max(rhos)),
        "first_rho_s": bool(rho_s > np.max(rhos)),
    }


def depends(lab, seed, host, scheme, attack, strength):
    """The new data, for which others may stand in."""
    return lab.images(get_host(host).other_set, "train")[0] if attack == NEW else None


TABLE = Table("evidence_detection", "Detection after every attack, by the paper's rule, by the evidence, and by the "
              "rank of the own key among a thousand others under four statistics.", GRID, trial, {}, COLUMNS, depends)

if __name__ == "__main__":
    runner.run(TABLE)
