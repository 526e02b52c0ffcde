"""watermark attack --kind=prune --rate=0.3 --model=marked.keras --out=pruned.keras

What a thief may do, to see what a mark outlives: prune (--rate), finetune (--steps of the model's own task, fresh
Adam), overwrite (embeds another key by the same method). And forge: no model is changed, a key is made up whose S is
what the model answers, --out=forged.npz, with a commitment of today; verify --commitment refuses it.
"""

from pathlib import Path

from absl import flags

from watermark.attacks import finetune, forge, prune
from watermark.cli import common, embed, keygen
from watermark.keys import make_key, save_key
from watermark.lab.profiles import FINAL_LEARNING_RATE
from watermark.models import save_model
from watermark.preflight import form
from watermark.ranges import own
from watermark.training import Compute


def define(values):
    """The verb's flags."""
    common.define_model(values)
    common.define_task(values)
    embed.define_recipe(values)
    flags.DEFINE_enum("kind", None, ["prune", "finetune", "overwrite", "forge"], "the attack", flag_values=values)
    flags.DEFINE_float("rate", 0.3, "share of each kernel that pruning takes", 0.0, 1.0, flag_values=values)
    flags.DEFINE_integer("size", 40, "side of the thief's trigger, for overwrite and forge", flag_values=values)
    flags.DEFINE_integer("tries", 1, "keys that a forger draws, keeping the best", 1, flag_values=values)
    flags.DEFINE_string("owner", "Mallory", "whom a forger claims to be", flag_values=values)
    flags.DEFINE_string("out", None, "the attacked model, .keras; for forge the forged key, .npz", flag_values=values)
    values.set_default("learning_rate", None)


def run(values):
    """Attacks and writes."""
    common.required(values, "kind", "out")
    if Path(values.out).suffix != (".npz" if values.kind == "forge" else ".keras"):
        raise ValueError(f"--out={values.out}: expected a name in {'.npz' if values.kind == 'forge' else '.keras'}")
    model, one = common.open_model(values)
    if values.kind == "forge":
        return _forge(values, one)
    if values.kind == "prune":
        attacked, after = prune(model, values.rate), f"{values.rate:.0%} of each kernel pruned"
    else:
        attacked, after = _train(values, model, one)
    save_model(own(attacked), values.out)
    embed.clean(values)
    print(f"{values.out}: {after}")
    return 0


def _train(values, model, one):
    task, images = common.read_task(values, one)
    key = make_key(f"thief {values.seed}", **_kind(values, one))
    if values.kind == "overwrite":
        values.learning_rate = values.learning_rate or embed.RECIPE.learning_rate
        return embed.train(values, model, one, key, task, images, "overwriting"), "another key embedded"
    if len(model.outputs) > 1:
        raise ValueError("finetune trains models with one output")
    batches = task.batches(images, seed=values.seed, batch_size=values.batch_size,
                           size=common.patch_size(values, one, key))
    tuned = finetune(model, batches, steps=values.steps, learning_rate=values.learning_rate or FINAL_LEARNING_RATE,
                     folder=embed.resumable(values), compute=Compute(values.precision))
    return tuned, f"fine-tuned for {values.steps} steps"


def _kind(values, one):
    """Arguments of `make_key` for a key that fits the model."""
    shape = form(one)
    task = {"task": "sr", "scale": shape.scale} if shape.scale > 1 else {}
    return {"size": shape.size(values.size), "channels": shape.channels} | task


def _forge(values, one):
    if Path(values.out).exists():
        raise ValueError(f"{values.out} exists; a key is not overwritten")
    forged = forge(one, f"forger {values.seed}", tries=values.tries, owner=values.owner, **_kind(values, one))
    save_key(forged, values.out)
    print(f"{values.out}: a key made up after the fact, S declared to be what {values.model} answers")
    keygen.publish(forged, common.beside(values.out, "commitment.json"))
    return 0
