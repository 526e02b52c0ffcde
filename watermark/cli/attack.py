"""watermark attack --kind=prune --rate=0.3 --model=marked.keras --out=pruned.keras

What a thief may do, to see what a mark outlives: prune (--rate), finetune (--steps of the model's own task, fresh
Adam), overwrite (embeds another key by the same method). And forge: no model is changed, a key is made up whose S is
what the model answers, --out=forged.npz, with a commitment of today. --by=draw takes its K from a hash, the best of
--tries; --by=declare makes up S₀ too; --by=gradient descends on K. verify says why it claims nothing: it does not find
the mark of the first, exit code 1, and refuses the other two when it reads them, 2.
"""

import dataclasses
import functools
from pathlib import Path

from absl import flags

from watermark import data, inference
from watermark.attacks import ATTACKS, Thief, forge
from watermark.attacks.finetuning import LEARNING_RATE
from watermark.attacks.forging import FORGERS
from watermark.cli import common, embed, fitting_keys, keygen
from watermark.compute import Compute
from watermark.embedding import embed as mark
from watermark.files import exclusive
from watermark.forms import check_learns, form
from watermark.keys import make_key, save_key
from watermark.kinds import Kind
from watermark.preflight import guess
from watermark.ranges import own
from watermark.recipes import QUICK, Recipe
from watermark.training import Run

KINDS = {name: attack for name, attack in ATTACKS.items() if not attack.answers}
MAKERS = {bool: flags.DEFINE_boolean, int: flags.DEFINE_integer, float: flags.DEFINE_float, str: flags.DEFINE_string}
FORGE = "forge"
THIEF = 2000  # added to the seed of a thief's batches, which are not the owner's though the images may be
# {flag: the kinds that it is for}, beside the attacks' knobs; those of the model are for all.
OF_KINDS = ({"size": ("overwrite", FORGE), "seed": (FORGE,)} | dict.fromkeys(("by", "tries", "owner"), (FORGE,))
            | dict.fromkeys(embed.OF_RECIPE, ("overwrite",))
            | dict.fromkeys(("batch_size", "patch", "precision"), ("finetune", "overwrite"))
            | dict.fromkeys((*common.OF_TASKS, "task", "strict", "preflight"), tuple(KINDS)))


def define(values):
    """The verb's flags: the attacks' knobs, and the recipe of embedding for the thief's own keys."""
    common.define_model(values)
    common.define_task(values)
    embed.define_recipe(values)
    flags.DEFINE_enum("kind", None, [*KINDS, FORGE], "the attack", flag_values=values)
    for name, attack in KINDS.items():
        for field in _knobs(attack):
            _define(values, name, field)
    flags.DEFINE_integer("size", 40, "side of the thief's trigger, for overwrite and forge", flag_values=values)
    flags.DEFINE_enum("by", "draw", list(FORGERS), "how a forger makes the key", flag_values=values)
    flags.DEFINE_integer("tries", 1, "keys that a forger draws, keeping the best", 1, flag_values=values)
    flags.DEFINE_string("owner", "Mallory", "whom a forger claims to be; may be empty", flag_values=values)
    flags.DEFINE_string("out", None, "the attacked model, .keras; for forge the forged key, .npz; none is "
                        "overwritten", flag_values=values)
    values.set_default("learning_rate", None)
    values["learning_rate"].help = ("of fine-tuning, all along, default "
                                    f"{LEARNING_RATE:g}; of overwriting the first step's, "
                                    f"falling to 0, default {QUICK.learning_rate:g}")


def _knobs(attack):
    return [field for field in dataclasses.fields(attack) if field.metadata["cli"] is not None]


def _define(values, name, field):
    if field.name in values:  # of the task or of the recipe
        return
    knob, kind = field.metadata, type(field.metadata["cli"])
    bounds = {"lower_bound": knob["low"], "upper_bound": knob["high"]} if kind in (int, float) else {}
    MAKERS[kind](field.name, knob["cli"], f"{knob['help']}, for {name}", flag_values=values, **bounds)


def run(values):
    """Attacks and writes."""
    common.required(values, "kind", "out")
    _check_flags(values)
    forges = values.kind == FORGE
    common.check_out(values.out, ".npz" if forges else ".keras")
    with exclusive(values.out, f"{values.out} is being written by another watermark attack; give another --out"):
        return _run(values, forges)


def _check_flags(values):
    """A ValueError for a flag that is of no use to the --kind, such as --rate for fine-tuning."""
    useful = {name: {*kinds} for name, kinds in OF_KINDS.items()}
    for kind, attack in KINDS.items():
        for field in _knobs(attack):
            useful.setdefault(field.name, set()).add(kind)
    if not (values.images or values.pairs) and values.kind in KINDS and not KINDS[values.kind].trains:
        common.check_unused(values, (*common.OF_IMAGES, "preflight"), "is for --images or --pairs, which are not given")
    if values.by != "draw":
        common.check_unused(values, ("tries",), f"is for --by=draw, this is --by={values.by}")
    for name, kinds in useful.items():
        if values[name].present and values.kind not in kinds:
            raise ValueError(f"--{name} is for --kind={' or '.join(sorted(kinds))}, this is --kind={values.kind}")


def _run(values, forges):
    model, one = common.open_model(values)
    if forges:
        return _forge(values, one)
    attack = _attack(values, one)
    embed.check_free(values, folder := embed.resumable(values, values.kind))
    if len(model.outputs) > 1 and attack.trains and not hasattr(attack, "recipe"):
        raise ValueError(f"{values.kind} trains models with one output")
    thief, task, images = _thief(values, one) if attack.trains else (None, *_judged_on(values, one))
    attacked = attack(model, thief)
    embed.place(values, own(attacked))
    embed.clean(values, folder)
    print(f"{values.out}: {attack.label}")
    what = "of the training images" if values.images or values.pairs else f"photographs ({common.task_words(task)})"
    print(embed.cost(one, inference.single_output(attacked, values.output), task, images, what))
    return 0


def _attack(values, one):
    """The attack of the flags, its knobs' own defaults where a flag was not given."""
    chosen, made = KINDS[values.kind], {}
    for field in dataclasses.fields(chosen):
        given = field.name in values and values[field.name].present  # its default may be another knob's
        made[field.name] = values[field.name].value if given else field.metadata["cli"]
    special = {"data": values.images or "pairs", "key": values.seed, "patch": values.patch}
    if values.learning_rate is None:
        values.learning_rate = made.get("learning_rate") or QUICK.learning_rate
    kind = Kind(**_kind(values, one)) if "recipe" in made else Kind()  # its flags are checked for every attack
    special["recipe"] = embed.recipe(values, kind)
    return chosen(**made | {name: value for name, value in special.items() if name in made})


def _judged_on(values, one):
    """(task, images) that what the attack costs is measured on: the owner's, else the likeliest task's photographs."""
    if values.images or values.pairs:
        return common.read_task(values, one)
    answers, usual = common.in_every_range(values, one)
    task = next(iter(guess(answers, form(one), usual)))
    return task, list(data.images("sample_test").values())


def _thief(values, one):
    """(what the thief has, the task, its images)."""
    check_learns(one, form(one))
    task, images = common.read_task(values, one)
    key = make_key(f"thief {values.seed}", **_kind(values, one))
    patch = fitting_keys.patch_size(values, one, key)

    def batches(data: str, recipe: Recipe, seed: int):
        return task.batches(images, seed=THIEF + seed, batch_size=recipe.batch_size, size=patch)

    run = Run(embed.resumable(values, values.kind), Compute(values.precision))
    return Thief(batches, lambda seed: key, functools.partial(mark, output=values.output), run), task, images


def _kind(values, one):
    """Fields of the kind of a key that fits the model."""
    shape = form(one)
    task = {"task": "sr", "scale": shape.scale} if shape.scale > 1 else {}
    return {"size": shape.size(values.size), "channels": shape.channels} | task


def _forge(values, one):
    out, commitment = Path(values.out), common.beside(values.out, "commitment.json")
    done = keygen.published(commitment) or values.by != "draw"  # such a key is read by none, the same command neither
    if out.exists() and done or commitment.exists() and not out.exists():
        raise ValueError(f"{out if out.exists() else commitment} exists and is not overwritten; give another --out")
    forged = forge(one, f"forger {values.seed}", by=values.by, tries=values.tries, owner=values.owner,
                   **_kind(values, one))
    save_key(forged, values.out)
    print(f"{values.out}: a key made up after the fact, S declared to be what {values.model} answers")
    keygen.publish(forged, commitment)
    return 0
