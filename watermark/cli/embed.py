"""watermark embed --model=mine.keras --images=photos/ --task=denoise --sigma=25 --key=key.npz --out=marked.keras

Marks a Keras model, image to image, while it goes on with its own task: denoising, super-resolution, or any task given
by --task=pairs --pairs=INPUTS/,TARGETS/. The key file then holds S = M(K), and a second commitment covers it.
A thousand steps take 5 minutes on 2 cores for a network like DnCNN. Killed, the same command goes on.
"""

import shutil
from pathlib import Path

import numpy as np
from absl import flags

from watermark import inference, metrics
from watermark.cli import common, keygen
from watermark.commitments import commit
from watermark.embedding import embed, update_key
from watermark.files import sha256
from watermark.keys import load_key, random_keys, save_key
from watermark.lab.profiles import PROFILES
from watermark.lab.store import digest
from watermark.models import save_model
from watermark.ranges import own
from watermark.training import Compute
from watermark.verification import verify

RECIPE = PROFILES["quick"].embed
OTHERS_SR = PROFILES["quick"].particular["sr"]["others"]


def define(values):
    """The verb's flags."""
    common.define_model(values)
    common.define_task(values)
    define_recipe(values)
    flags.DEFINE_string("key", None, "the key file; its S becomes M(K)", flag_values=values)
    flags.DEFINE_string("out", None, "the marked model to write, .keras", flag_values=values)
    flags.DEFINE_string("sign", None, "Ed25519 private key (PEM) to sign the commitment with", flag_values=values)


def define_recipe(values):
    """Flags of the training; the defaults are the recipe of the quick profile (docs/recipe.md)."""
    flags.DEFINE_integer("steps", RECIPE.steps, "training steps", 1, flag_values=values)
    flags.DEFINE_float("learning_rate", RECIPE.learning_rate, "the first step's, falling to 0", flag_values=values)
    flags.DEFINE_enum("optimizer", RECIPE.optimizer, ["muon", "adam"], "of the training", flag_values=values)
    flags.DEFINE_float("strength", RECIPE.strength, "λ of Eq. (4) at the end", flag_values=values)
    flags.DEFINE_float("boost", RECIPE.boost, "how many times that λ is at the start", flag_values=values)
    flags.DEFINE_float("reach", RECIPE.reach, "how far ahead of fine-tuning the mark is learnt; 0: the paper's loss",
                       flag_values=values)
    flags.DEFINE_float("others", None, "weight of the loss that holds the answers to other keys; default: "
                       f"{OTHERS_SR:g} for --task=sr, else 0", flag_values=values)
    flags.DEFINE_integer("seed", 0, "of the training batches", flag_values=values)


def run(values):
    """Embeds, updates the key file, and says what it cost."""
    common.required(values, "key", "out")
    if Path(values.out).suffix != ".keras":
        raise ValueError(f"--out={values.out}: expected a name that ends in .keras")
    key = load_key(values.key)
    if not np.array_equal(key.initial, key.verification):
        raise ValueError(f"{values.key} marks a model already; make a key for each model (watermark keygen)")
    private = keygen.signing_key(values.sign)
    model, one = common.open_model(values)
    common.check_key(one, key)
    task, images = common.read_task(values, one)
    marked = train(values, model, one, key, task, images, "embedding")
    key = update_key(key, marked, values.output)
    verdict = verify(inference.single_output(marked, values.output), key, null_keys=100)
    if not verdict.evident:
        raise ValueError(f"the mark did not take (ρ = {verdict.rho:.2f}); more --steps or a higher --strength; nothing "
                         "was written")
    save_model(own(marked), values.out)  # before the key: without the model, the new S would be of no use
    save_key(key, values.key)
    print(f"{values.out}: the marked model (ρ = {verdict.rho:.3f})")
    keygen.publish(key, common.beside(values.key, "marked.commitment.json"), private)
    print(strangers(inference.single_output(marked, values.output), key))
    print(cost(one, inference.single_output(marked, values.output), task, images))
    clean(values)
    return 0


def run_folder(values):
    """Where an interrupted training is kept, beside the result; `clean` removes it."""
    return Path(values.out).with_suffix(".run")


def resumable(values, *more):
    """The folder of this very training: the same flags and model, and `more`, go on where they stopped."""
    told = {flag: values[flag].value for flag in sorted(values)}
    return run_folder(values) / digest(told, sha256(values.model), more)


def clean(values):
    """Forgets the trainings behind a result that is written."""
    shutil.rmtree(run_folder(values), ignore_errors=True)


def train(values, model, one, key, task, images, title):
    """`model` marked with `key` by the recipe of the flags."""
    others = values.others if values.others is not None else OTHERS_SR * (key.kind.task == "sr")
    batches = task.batches(images, seed=values.seed, batch_size=values.batch_size,
                           size=common.patch_size(values, one, key))
    return embed(model, key, batches, steps=values.steps, learning_rate=values.learning_rate,
                 optimizer=values.optimizer, strength=values.strength, boost=values.boost, reach=values.reach,
                 others=others, folder=resumable(values, commit(key)["key"]), output=values.output,
                 compute=Compute(values.precision), title=title)


def strangers(marked, key, count=100):
    """How near other keys come to the paper's threshold on the marked model, in a sentence."""
    triggers, initials = random_keys(key.kind, count, "strangers")
    answers = inference.as_suspect(marked, key.kind)(triggers)
    least, eta = min(map(metrics.distance, answers, initials)), metrics.threshold(initials[0].size)
    found = f"{count} strangers' keys: the least d is {1e3 * least:.2f}e-3, η is {1e3 * eta:.2f}e-3"
    return found if least > eta else f"{found}: d ≤ η would accept a stranger's claim; a higher --others keeps them off"


def cost(before, after, task, images):
    """What an embedding or attack did to the model's own task, in a sentence."""
    (psnr, count), (now, _) = (common.quality(model, task, images) for model in (before, after))
    return f"PSNR on {count} of the training images: {psnr:.2f} dB before, {now:.2f} dB after"
