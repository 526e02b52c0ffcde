"""What stands at the foot of tables: how the models behind them were made, and what their numbers are of."""

from __future__ import annotations

import math

from watermark.attacks.finetuning import LEARNING_RATE
from watermark.hosts import HOSTS
from watermark.lab.profiles import FOLDED, Profile
from watermark.lab.specs import Marked, Spec
from watermark.recipes import EPOCH, Embedding
from watermark.schemes import get_scheme

TRAIN400 = "train400"
TIMED = 4  # steps of an embedding
PIXELS = 1 << 25  # of all fresh keys' answers behind one p-value


def fresh_keys(profile: Profile, mark: Marked) -> int:
    """How many fresh keys a mark of ours is held against: the profile's, of large keys fewer."""
    return min(profile.null_keys, PIXELS // math.prod(profile.kind(mark).answer_shape))


def marks_notes(profile: Profile, subjects: list[Spec]) -> list[str]:
    """How the marks behind a table were made, and how many there are."""
    marks = list(dict.fromkeys(spec.root for spec in subjects if isinstance(spec.root, Marked)))
    lengths = dict.fromkeys((mark.recipe.steps, mark.recipe.batch_size) for mark in marks)
    made = ", ".join(f"{steps} embedding steps of {patches} patches" for steps, patches in lengths)
    ours = [mark for mark in marks if isinstance(mark.recipe, Embedding)]
    up_to = "up to " if profile.trials > 1 else ""
    plain = {mark.host for mark in ours if not mark.recipe.preserving}
    held = ", ".join(HOSTS[host].title + " in part" * (host in plain) for host in dict.fromkeys(
        mark.host for mark in ours if mark.recipe.preserving))
    first = min((mark.seed for mark in marks), default=profile.first_seed)
    seeds = f", seeds from {first}" if first else ""
    shared = any(not mark.own_key for mark in ours)
    return [f"trials per row: {up_to}{profile.trials} (paper: 30){seeds}",
            *([f"{made} (paper: 8 epochs{_epoch(marks)})"] if made else []), *_means(marks), *_sizes(profile, marks),
            *([f"{held} marked by ours with the answers to other keys held (docs/recipe.md)"] if held else []),
            *(["mean ± standard deviation over trials"] if profile.trials > 1 else []),
            *(["keys of the seeds that the recipe was found with, one key a seed for all hosts of a task, of smaller "
               "kinds the first pixels of a larger one's"]
              if shared and first == 0 else [])]


def _epoch(marks):
    """How long the paper's epoch is, where that is known: of Train400."""
    known = any(HOSTS[mark.host].train_set == TRAIN400 for mark in marks)
    return f", for denoisers of {EPOCH} batches of 128, by its authors' code" if known else ""


def _means(marks):
    """By which optimizer and loss, in words: of all schemes, of ours, and of those that the paper holds it against."""
    optimizers = ", ".join(dict.fromkeys(mark.recipe.optimizer.capitalize() for mark in marks))
    folded = ", batch norms folded" * any(mark.recipe.fold for mark in marks)
    ours = [mark.recipe for mark in marks if isinstance(mark.recipe, Embedding)]
    falls = dict.fromkeys(f"λ falls from {recipe.decay * recipe.strength:.2g} to {recipe.strength:g}"
                          for recipe in ours if recipe.decay != 1.0)
    few = [*falls] if len(falls) == 1 else ["λ falls to a fraction"] * bool(falls)
    ahead = ["the mark is learnt ahead of the weights"] * any(recipe.lookahead for recipe in ours)
    beside = ["the mark is learnt beside a thief"] * any(recipe.shadow for recipe in ours)
    words = ", ".join([*few, *ahead, *beside])
    return [*([f"embedded by {optimizers}{folded} (paper: Adam)"] if marks else []),
            *([f"by ours {words} (paper: λ constant, at the weights; docs/recipe.md)"] if words else []),
            *_schemes("made", marks)]


def _schemes(what, marks):
    """What the schemes themselves have to say, of how marks are "made" or "judged"."""
    schemes = dict.fromkeys(mark.scheme for mark in marks)
    return [note for scheme in schemes if (note := getattr(get_scheme(scheme), "NOTES", {}).get(what))]


def _sizes(profile, marks):
    sized = [mark for mark in marks if mark.size]
    titles = ", ".join(dict.fromkeys(HOSTS[mark.host].title for mark in marks if HOSTS[mark.host].scale > 1)
                       ) if sized else ""
    usual = [profile.mark(mark.host, mark.seed, mark.scheme).recipe for mark in sized]
    lighter = any(mark.recipe.strength < recipe.strength for mark, recipe in zip(sized, usual, strict=True))
    fewer = any(mark.recipe.steps < recipe.steps for mark, recipe in zip(sized, usual, strict=True))
    return [*([f"sizes are the side of S, twice that of the trigger of {titles}"] if titles else []),
            *(["λ of a key of more than 40x40 pixels is as much smaller as they are more (paper: one λ for all sizes; "
               "docs/recipe.md)"] if lighter else []),
            *([f"keys of more than {profile.large}x{profile.large} pixels are embedded in as much fewer steps as their "
               "sides are longer (paper: in as many)"] if fewer else [])]


def timing_notes(profile: Profile, subjects: list[Spec]) -> list[str]:
    """`marks_notes`, and how the seconds were had."""
    steps = max(profile.mark(spec.host, spec.seed, spec.scheme).recipe.steps for spec in subjects)
    return [*marks_notes(profile, subjects), f"an embedding's seconds are the median of {TIMED} steps times {steps} "
            "steps, of every size", "a verification is one query, without the fresh keys of the evidence",
            "both sides of a ratio are measured in one run, the seconds of different rows in several"]


def strangers_notes(profile: Profile, subjects: list[Spec]) -> list[str]:
    """`marks_notes`, and whose keys the strangers' are."""
    return [*marks_notes(profile, subjects), "all hosts of a task are asked with the same strangers' keys"]


def uniqueness_notes(profile: Profile, subjects: list[Spec]) -> list[str]:
    """`strangers_notes`, and of which generator they are."""
    scaled = any(HOSTS[spec.host].scale > 1 for spec in subjects)
    return [*strangers_notes(profile, subjects),
            *(["gradients of super-resolution keys are of an upsampling sampled at the pixels' centres, the paper's "
               "seem to be of another (docs/recipe.md)"]
              if scaled and not profile.gradient else [])]


def evidence_notes(profile: Profile, subjects: list[Spec]) -> list[str]:
    """`marks_notes`, and how many keys the evidence is against."""
    return [*marks_notes(profile, subjects), f"ρ and p of ours against {profile.null_keys} fresh keys"]


def robustness_notes(profile: Profile, subjects: list[Spec]) -> list[str]:
    """`evidence_notes`, whose rule the baselines' verdicts are by, and what NCC is of."""
    return [*evidence_notes(profile, subjects), *_schemes("judged", [spec.root for spec in subjects]),
            "NCC of our denoisers is of residuals, K − M(K) with K − S, "
            "as its authors' code trains (its text says images: in the records, `ncc`), of super-resolution of images"]


def finetuning_notes(profile: Profile, subjects: list[Spec]) -> list[str]:
    """`robustness_notes`, how long an epoch is, and which rate is which."""
    return [*robustness_notes(profile, subjects), *_epochs(profile, subjects)]


def overwriting_notes(profile: Profile, subjects: list[Spec]) -> list[str]:
    """`robustness_notes`, and how further keys are embedded."""
    return [*robustness_notes(profile, subjects), "a further key is embedded by the owner's own recipe, in as many "
            "steps, each of several on the same batches"]


def detection_notes(profile: Profile, subjects: list[Spec]) -> list[str]:
    """`evidence_notes`, what strengths are, and how long an epoch is."""
    others = ", ".join(dict.fromkeys(f"{HOSTS[spec.host].other_set} for {HOSTS[spec.host].title}" for spec in subjects))
    return [*evidence_notes(profile, subjects), "strength: per cent of the weights pruned, epochs at the rate hard, "
            f"further keys; new data: {others}", *_epochs(profile, subjects)]


def _epochs(profile, subjects):
    batches = ", ".join(f"{size}" for size in dict.fromkeys(spec.root.recipe.batch_size for spec in subjects))
    stands_in = any(HOSTS[spec.host].other_set == "urban100" for spec in subjects)
    tuned = (f"Adam, rate paper: {LEARNING_RATE:g} where there are batch norms as in the paper, or never were, "
             f"{FOLDED:g} times that where they are folded and kernels about so much smaller (2.8 times, of a public "
             f"RED, docs/recipe.md); hard: {LEARNING_RATE:g} there too (the paper: as the hosts' authors trained them)")
    return [*(["urban100, its first 40 images, stands in for the paper's DIV2K"] if stands_in else []),
            f"an epoch is {profile.epoch} steps of {batches} patches (paper: of Train400 "
            f"{EPOCH} of 128, by its authors' code)", tuned]


def fidelity_notes(profile: Profile, subjects: list[Spec]) -> list[str]:
    """`marks_notes`, what hosts of super-resolution gain meanwhile, and which WPSNR."""
    scaled = any(HOSTS[spec.host].scale > 1 for spec in subjects)
    return [*marks_notes(profile, subjects), *(
        ["hosts of super-resolution gain by training alone, .03 to .04 dB in 3,000 steps of fine-tuning "
         "(`finetuned_own_3000_psnr` of recipe.jsonl): a mark may cost as much more than it seems to",
         "the paper's averages over scales are no rows here"] if scaled else []),
        "WPSNR is weighted by the eye's contrast sensitivity; the paper does not define its own, whose cells all lie "
        "6.99 to 7.19 dB above PSNR"]


def pairs_notes(profile: Profile, subjects: list[Spec]) -> list[str]:
    """`marks_notes`, and what the distances are of."""
    return [*marks_notes(profile, subjects), "the paper's distances between denoisers are of residuals, K − M(K) with "
            "K − S, and stand beside ours; between super-resolution networks, where it prints none, images count"]
