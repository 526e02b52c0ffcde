"""Beyond the paper: what does each statistic still find after every attack?

For each attacked model the own key is ranked among a thousand fresh ones by four statistics, each found if the own
key comes first, a false-positive rate of 1e-3: the distance d, the paper's NCC, the correlation of residuals with S₀
(ρ, the evidence's) and with S. Beside them stand the paper's rule d <= η and the evidence rule. Rows take seconds once
their models are kept, most of which figS2_finetuning.py and figS3_overwriting.py make too; from nothing, 35 to 60
minutes a host.

    python experiments/evidence_detection.py --trials=1
"""

import numpy as np

from watermark.lab import measures, notes, scripts
from watermark import blackbox, evidence, interrogation, keys, metrics, verification
from watermark.attacks import Prune
from watermark.hosts import HOSTS
from watermark.lab.tables import Column, Measure, Table
from watermark.schemes import OURS

# Attack: (strengths, (profile, mark, strength) -> attacks). Per cent of the weights, epochs, further keys: the axis
# `strength` is an attack's; a mark's is λ, in tables the axis `lam`.
ATTACKS = {
    "none": ((0,), lambda profile, mark, strength: []),
    "pruned": ((20, 30, 40, 50, 60), lambda profile, mark, strength: [Prune(strength / 100)]),
    "fine-tuned": ((5, 15, 50), lambda profile, mark, strength: [profile.finetuning(mark, strength)]),
    # kth_tips_train for denoising, urban100 for super-resolution
    "fine-tuned, new data": ((50,), lambda profile, mark, strength: [profile.finetuning(mark, strength, new=True)]),
    "overwritten": ((1, 5), lambda profile, mark, strength: profile.overwriting(mark, strength)),
}
GRID = [{"host": host, "scheme": OURS, "attack": attack, "strength": strength}
        for host in HOSTS for attack, (strengths, _) in ATTACKS.items() for strength in strengths]
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


def subject(profile, seed, host, scheme, attack, strength):
    """A marked host after an attack."""
    mark = profile.mark(host, seed, scheme)
    return mark.under(*ATTACKS[attack][1](profile, mark, strength))


def values(lab, subjects, row):
    """The verdict, and whether each statistic puts the own key first."""
    (spec,) = subjects.values()
    key = lab.key(spec.root)
    ask = blackbox.as_suspect(lab.get(spec), key.kind)
    triggers, initials = keys.random_keys(key.kind, lab.profile.null_keys, interrogation.null_label(key))
    answers, own = ask(triggers), ask(key.trigger[None])
    rhos = evidence.residual_correlation(triggers, answers, initials, key.kind)
    verdict = verification.judge(interrogation.Answers(own[0], rhos, ""), key)
    rho_s = evidence.residual_correlation(key.trigger[None], own, key.verification[None], key.kind)[0]
    others = list(zip(answers, initials, strict=True))
    return measures.recorded(verdict) | {
        "evident": verdict.stands_out,
        "first_distance": bool(verdict.distance < min(metrics.distance(a, S) for a, S in others)),
        "first_ncc": bool(verdict.ncc > max(metrics.ncc(a, S) for a, S in others)),
        "first_rho": bool(verdict.rho > np.max(rhos)),
        "first_rho_s": bool(rho_s > np.max(rhos)),
    }


TABLE = Table("evidence_detection", "Detection after every attack, by the paper's rule, by the evidence, and by the "
              "rank of the own key among a thousand others under four statistics.", GRID, subject,
              Measure(values, COLUMNS, notes.detection_notes, on_images=False))

if __name__ == "__main__":
    scripts.run(TABLE)
