"""watermark embed --model=mine.keras --images=photos/ --task=denoise --sigma=25 --key=key.npz --out=marked.keras

Marks a Keras model, image to image, while it goes on with its own task: denoising, super-resolution, or any task given
by --task=pairs --pairs=INPUTS/,TARGETS/. The key file then holds S = M(K), and a second commitment covers it.
A thousand steps take 5 minutes on 2 cores with AVX512-BF16 for a network like DnCNN, half an hour with AVX2.
Killed, the same command goes on.
"""

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from absl import flags

from watermark import blackbox, commitments, forms, inference, judgement, metrics
from watermark.cli import common, fitting_keys, keygen
from watermark.commitments import FIRST, commit
from watermark.compute import Compute
from watermark.embedding import embed, update_key
from watermark.evidence import NULL_KEYS
from watermark.files import check_place, digest, exclusive, sha256
from watermark.keys import load_key, random_keys, refusal, save_key, with_verification
from watermark.models import save_model
from watermark.ranges import own
from watermark.recipes import OPTIMIZERS, PARTICULAR, QUICK, recommended
from watermark.states import read_history
from watermark.training import Run
from watermark.verification import FAITHFUL

STRANGERS = 100  # keys of others that the marked model is asked with
NEAR = 1.25  # times what a claim needs: below, a mark is worth a warning
OF_RECIPE = ("steps", "batch_size", "learning_rate", "optimizer", "strength", "decay", "lookahead", "preserving")
PRESERVING_SR = PARTICULAR["sr"]["preserving"]


def define(values):
    """The verb's flags."""
    common.define_model(values)
    common.define_task(values)
    define_recipe(values)
    flags.DEFINE_string("key", None, "the key file; its S becomes M(K)", flag_values=values)
    flags.DEFINE_string("out", None, "the marked model to write, .keras; none is overwritten", flag_values=values)
    flags.DEFINE_string("sign", None, "Ed25519 private key (PEM) to sign the commitment with; default: the one beside "
                        "the key that signed its first commitment", flag_values=values)


def define_recipe(values):
    """Flags of the training; the defaults are the recipe of the quick profile (docs/recipe.md)."""
    flags.DEFINE_integer("steps", QUICK.steps, "training steps", 1, flag_values=values)
    flags.DEFINE_float("learning_rate", QUICK.learning_rate, "the first step's, falling to 0", flag_values=values)
    flags.DEFINE_enum("optimizer", QUICK.optimizer, OPTIMIZERS, "of the training", flag_values=values)
    flags.DEFINE_float("strength", None, f"λ of Eq. (4) at the end; default: {QUICK.strength:g}, for an S of more than "
                       "40x40 pixels as much less as they are more", flag_values=values)
    flags.DEFINE_float("decay", QUICK.decay, "how many times that λ is at the start", flag_values=values)
    flags.DEFINE_float("lookahead", QUICK.lookahead, "how far ahead of fine-tuning it is learnt; 0: the paper's loss",
                       flag_values=values)
    flags.DEFINE_float("preserving", None, "weight of the loss that holds the answers to other keys; default: "
                       f"{PRESERVING_SR:g} for --task=sr (of larger keys less, as λ), else 0", flag_values=values)
    flags.DEFINE_integer("seed", 0, "of the training batches", flag_values=values)


def run(values):
    """Embeds, updates the key file, and says what it cost."""
    common.required(values, "model", "key", "out")
    common.check_out(values.out, ".keras")
    load_key(values.key)  # says what is wrong before a lock is made beside it
    check_place(values.key, f"--key={values.key}, into which S goes")
    with (exclusive(values.key, f"{values.key} is being embedded by another process; make a key for each model"),
          exclusive(values.out, f"{values.out} is being written by another process; give another --out")):
        return _embed(values)


def _embed(values):
    key, commitment = load_key(values.key), common.beside(values.key, "marked.commitment.json")
    if why := refusal(key):
        raise ValueError(f"nothing could be claimed with this key: {why}; make one with watermark keygen")
    recipe(values, key.kind)  # or an error, before any image is read
    if key.embedded:
        return _complete(values, key, commitment)
    if commitment.exists():
        raise ValueError(f"{commitment} is there, of another mark, and is not overwritten; move it away")
    private = keygen.signer(values.sign, values.key)
    model, one = common.open_model(values)
    check_free(values, folder := training_of(values, key))
    fitting_keys.check_kind(one, key.kind)
    if costs := fitting_keys.limits(one, key):
        print(costs, flush=True)
    forms.check_learns(one, forms.form(one))
    task, images = common.read_task(values, one)
    marked = train(values, model, one, key, task, images)
    mine = inference.single_output(marked, values.output)
    try:
        updated, judged = check(mine, key)
    except ValueError:
        clean(values, folder)  # these flags would end here again
        raise
    place(values, own(marked))  # before the key: without the model, the new S would be of no use
    save_key(updated, values.key)
    v = judged.verdict
    print(f"{values.out}: the marked model (ρ = {v.rho:.3f}, {FAITHFUL:g} needed; z = {v.z_score:.1f}, "
          f"{v.z_needed:.1f} needed)")
    keygen.publish(updated, commitment, private)
    if v.fidelity < NEAR * FAITHFUL or v.z_score < NEAR * v.z_needed:
        print("WARNING: the mark is hardly enough for a claim, and attacks will weaken it; with a new key, more "
              "--steps or a higher --strength make it stronger")
    print(strangers(mine, updated))
    print(cost(one, mine, task, images))
    clean(values, folder)
    return 0


def check(marked, key, null_keys=NULL_KEYS):
    """(the updated key, the judgement on it): all that `watermark verify --commitment` will ask of a claim.

    Raises:
      ValueError: a claim on this mark would not stand.
    """
    updated = with_verification(key, blackbox.answer(marked, key))  # how well it has taken is said below
    judged = judgement.judge(marked, updated, null_keys=null_keys, findings=[
        finding for commitment in (commit(key), commit(updated)) for finding in commitments.check(updated, commitment)])
    if not judged.stands:
        v = judged.verdict
        raise ValueError(f"the mark did not take: ρ = {v.rho:.2f} ({FAITHFUL:g} needed), z = {v.z_score:.1f} "
                         f"({v.z_needed:.1f} needed){f', {v.refusal}' if v.refusal else ''}; more --steps or a higher "
                         "--strength; nothing was written")
    return updated, judged


def _complete(values, key, commitment):
    """Writes what a kill after the key was saved has left out; a ValueError where nothing is missing."""
    mine = Path(values.out).exists() and np.allclose(
        key.verification, update_key(key, common.open_model(values, values.out)[1]).verification, atol=1e-3)
    folder = training_of(values, key)
    if not mine or keygen.published(commitment) and not folder.exists():
        raise ValueError(f"{values.key} marks a model already; make a key for each model (watermark keygen)")
    print(f"{values.out}: the marked model, as it was written before")
    if not keygen.published(commitment):
        keygen.publish(key, commitment, keygen.signer(values.sign, values.key))
    clean(values, folder)
    return 0


def run_folder(values):
    """Where interrupted trainings are kept, beside the result."""
    return Path(values.out).with_suffix(".run")


def training_of(values, key):
    """The folder of `resumable` for a key, before and after it is embedded."""
    return resumable(values, commit(with_verification(key, key.initial), FIRST)["key"])


def resumable(values, *more):
    """The folder of this very training: the same flags and model, and `more`, go on where they stopped."""
    told = {flag: values[flag].value for flag in sorted(values)}
    return run_folder(values) / digest(told, sha256(values.model), more)


def check_free(values, folder):
    """Refuses, before anything is spent, an --out that is there, but where the training in `folder` may have made it.

    A kill may have come between the model and what is written after it.
    """
    if run_folder(values).is_file():
        raise ValueError(f"{run_folder(values)} is a file, and a folder of that name is needed to keep the training; "
                         "move it away or give another --out")
    if Path(values.out).exists() and not any(row["step"] >= values.steps for row in read_history(folder)):
        common.check_new(values.out)


def place(values, model):
    """Writes a model to --out; it may be there from before a kill, and nothing else is replaced."""
    if Path(values.out).exists():
        there, made = common.read_model(values, values.out).get_weights(), model.get_weights()
        if len(there) == len(made) and all(map(np.array_equal, there, made)):
            return
    save_model(model, values.out, new=True)


def clean(values, folder):
    """Forgets the training behind a result that is written; others of that --out stay."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # not there, or not empty
        run_folder(values).rmdir()


def train(values, model, one, key, task, images):
    """`model` marked with `key` by the recipe of the flags."""
    batches = task.batches(images, seed=values.seed, batch_size=values.batch_size,
                           size=fitting_keys.patch_size(values, one, key))
    run = Run(training_of(values, key), Compute(values.precision), title="embedding")
    return embed(model, key, batches, recipe(values, key.kind), run, output=values.output)


def recipe(values, kind):
    """The recipe of the flags, for keys of a kind."""
    given = {name: value for name in OF_RECIPE if (value := values[name].value) is not None}
    return replace(recommended(kind.task, kind.pixels), **given)


def strangers(marked, key):
    """How near other keys come to the paper's threshold on the marked model, in a sentence."""
    triggers, initials = random_keys(key.kind, STRANGERS, "strangers")
    answers = blackbox.as_suspect(marked, key.kind)(triggers)
    least, eta = min(map(metrics.distance, answers, initials)), metrics.threshold(initials[0].size)
    found = f"{STRANGERS} strangers' keys: the least d is {1e3 * least:.2f}e-3, η is {1e3 * eta:.2f}e-3"
    return found if least > eta else f"{found}: d ≤ η would accept a stranger; a higher --preserving keeps them off"


def cost(before, after, task, images, what="of the training images"):
    """What an embedding or attack did to the model's own task, in a sentence."""
    (psnr, count), (now, _) = (common.quality(model, task, images) for model in (before, after))
    return f"PSNR on {count} {what}: {psnr:.2f} dB before, {now:.2f} dB after"
