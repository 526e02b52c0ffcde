"""The embedding recipe, judged by everything at once: fidelity, uniqueness, pruning, fine-tuning, further keys.

Rows are hosts and variants of the profile's recipe (`quick` is the profile's own); docs/recipe.md discusses them.
Fine-tuning is by Adam at 10⁻⁴ on the folded network, and for 1,000 steps of own data at half of that, the paper's
relative rate (`_relative`); further keys by the owner's own recipe, and one by the paper's loss (`overwritten_paper`).
What each attack costs the thief in PSNR is in the records. A host, `quick` and a seed take 5,000 steps of fine-tuning
(3,000 on own data, 1,000 on new, 1,000 at the relative rate) and six embeddings, seven where the mark is not made yet:
about an hour on 2 cores with AMX, about seven times as long with AVX2 alone. Every model is kept, so the same command
goes on. Expected of DnCNN's `quick`: a PSNR loss of 0.05 dB, d beyond η after 1,000 steps of fine-tuning and after two
further keys.

    python experiments/recipe.py --trials=1 --hosts=dncnn --rows=variant=quick
"""

from dataclasses import replace

import numpy as np

from watermark.lab import measures, notes, scripts
from watermark import blackbox, metrics
from watermark.attacks import Overwrite, Prune
from watermark.hosts import HOSTS
from watermark.keys import random_keys
from watermark.lab.profiles import KEYS, OVERWRITING, PLAIN, Profile
from watermark.lab.tables import Column, Measure, Table, grid
from watermark.recipes import PAPER
from watermark.schemes import OURS, get_scheme

ADAM = PLAIN | {"learning_rate": Profile.adam, "strength": PAPER.strength}
SHADOW = {"lookahead": 0.0, "steps": 2000, "shadow": 500}
HELD = SHADOW | {"shadow": 800, "rivals": 0.3, "preserving": 1e-4}
VARIANTS = {
    "quick": {},
    "averaged": {"average": 0.99},
    "adam": ADAM,  # the paper's loss
    # As printed; the hosts of `quick` were trained folded and have no batch norms to keep, nor copies to weigh in them.
    "paper": ADAM | {"steps": PAPER.steps, "batch_size": PAPER.batch_size, "learning_rate": PAPER.learning_rate},
    "shadow": SHADOW,
    "shadow_rivals": SHADOW | {"shadow": 800, "rivals": 0.3},
    "shadow_held": HELD,
    "shadow_textures": HELD | {"textures": 0.3},
    "shadow_near": HELD | {"near": 0.1},
    "shadow_perturbed": HELD | {"perturbing": 0.02},
    "shadow_projected": HELD | {"projecting": 0.25},
}
PRUNED = (0.25, 0.30, 0.35, 0.40, 0.50)
STEPS = {"own": (100, 300, 1000, 3000), "new": (100, 300, 1000)}
FURTHER = 5

GRID = grid(host=tuple(HOSTS), scheme=(OURS,), variant=tuple(VARIANTS))
UNTOUCHED = (
    Column("PSNR loss (dB)", "psnr_loss", form=".3f"),
    Column("d(S₀, M(K))", "initial", 1e3),
    Column("others, mean", "others_mean", 1e3),
    Column("least", "others_least", 1e3),
)
AFTER_PRUNING = tuple(Column(f"{rate:.0%} pruned", f"pruned_{rate:.2f}", 1e3) for rate in PRUNED)
COLUMNS = (
    *UNTOUCHED,
    *AFTER_PRUNING,
    *(Column(f"{data} {steps:,}", f"finetuned_{data}_{steps}", 1e3)
      for data, lengths in STEPS.items() for steps in lengths),
    Column("z", "finetuned_own_1000_z", form=".0f"),
    Column("own 1,000, relative rate", "finetuned_own_1000_relative", 1e3),
    *(Column(f"{n} further key{'s'[:n - 1]}", f"overwritten_{n}", 1e3) for n in range(1, FURTHER + 1)),
    Column("z ", "overwritten_5_z", form=".0f"),
    Column("1, paper's loss", "overwritten_paper", 1e3),
)


def pruned(mark, rates):
    """{value's name: a mark after pruning at one of the rates}."""
    return {f"pruned_{rate:.2f}": mark.under(Prune(rate)) for rate in rates}


def subject(profile, seed, host, scheme, variant):
    """A mark and all that is done to it."""
    changes = VARIANTS[variant]
    mark = profile.mark(host, seed, scheme, **changes | {
        name: max(1, changes[name] // profile.haste**2) for name in ("steps", "shadow") if name in changes})
    theirs = replace(profile.plain(host, seed, PAPER.strength).recipe,
                     steps=mark.recipe.steps, batch_size=mark.recipe.batch_size)
    return {"mark": mark,
            **pruned(mark, PRUNED),
            **{f"finetuned_{data}_{steps}": mark.under(profile.finetuning_steps(mark, steps, data == "new"))
               for data, lengths in STEPS.items() for steps in lengths},
            "finetuned_own_1000_relative": mark.under(profile.finetuning_steps(mark, 1000, rate="paper")),
            **{f"overwritten_{n}": mark.under(*profile.overwriting(mark, n)) for n in range(1, FURTHER + 1)},
            "overwritten_paper": mark.under(Overwrite(KEYS, theirs, mark.train_set, OVERWRITING))}


def values(lab, subjects, row):
    """All numbers of one marked model: of each attack d to S, with `_z`, `_rho` and what it left of the PSNR."""
    subjects = dict(subjects)
    mark = subjects.pop("mark")
    key, marked, host = lab.key(mark), lab.get(mark), lab.get(mark.parent)
    triggers, initials = random_keys(key.kind, lab.profile.null_keys, label="other")
    answers = blackbox.as_suspect(marked, key.kind)(triggers)
    others = [metrics.distance(a, b) for a, b in zip(answers, initials, strict=True)]
    found = {
        "initial": metrics.distance(key.initial, key.verification),
        "others_mean": float(np.mean(others)),
        "others_least": float(np.min(others)),
    }
    for i, test_set in enumerate(HOSTS[mark.host].test_sets[:2]):
        if i and lab.images.test_name(test_set) != test_set:
            continue  # the first may stand in, as the id says; the second has its own name
        before, after = (measures.psnr(lab, M, mark.host, test_set) for M in (host, marked))
        found[f"psnr_loss_{test_set}" if i else "psnr_loss"] = before - after
    found |= measures.evidence(lab, mark) | {"embed_seconds": measures.seconds(lab, mark)[0]}
    verify = get_scheme(mark.scheme).verify
    for name, spec in subjects.items():
        M = lab.get(spec)
        verdict = verify(M, key, null_keys=lab.profile.null_keys)
        found |= {name: verdict.distance, f"{name}_z": verdict.z_score, f"{name}_rho": verdict.rho,
                  f"{name}_p_value": verdict.p_value, f"{name}_psnr": measures.psnr(lab, M, mark.host)}
    return found


TABLE = Table("recipe", "The embedding recipe: answers to 1,000 other keys, after pruning, steps of fine-tuning on own "
              "or new data, further keys. Distances in 10⁻³; the threshold η is 6.07.",
              GRID, subject, Measure(values, COLUMNS, notes.evidence_notes))

if __name__ == "__main__":
    scripts.run(TABLE)
