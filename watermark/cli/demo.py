"""watermark demo

Marks the DnCNN that the project ships with a fresh key, prunes the marked copy, verifies both and the unmarked one,
and writes models, key and a panel to --out. Needs no data and no network. 2 to 5 minutes on 2 cores.
"""

import secrets
from pathlib import Path

import numpy as np
from absl import flags

from watermark import attacks, data, inference, judgement, keys, metrics, pictures
from watermark.checkpoints import load_host
from watermark.embedding import embed, update_key
from watermark.evidence import LEAST_KEYS
from watermark.files import check_place
from watermark.models import save_model
from watermark.tasks import Denoising

RATE = 0.25
OWNER = "watermark demo"
WRITTEN = ("key.npz", "marked.keras", "pruned.keras", "panel.png")
BATCH = 16  # patches: half of the recipe's, and without its lookahead, so that the demo takes a few minutes


def define(values):
    """The verb's flags."""
    flags.DEFINE_string("out", "demo", "folder of what the demo makes", flag_values=values)
    flags.DEFINE_integer("steps", 240, "of the embedding; the recipe proper takes 1000", 1, flag_values=values)
    flags.DEFINE_integer("null_keys", 300, "fresh keys asked beside the key; fewer find nothing", LEAST_KEYS,
                         flag_values=values)


def run(values):
    """The whole demo; returns 0 if it comes out as it should."""
    out = Path(values.out)
    _check_empty(out)
    host, task = load_host("dncnn"), Denoising()
    batches = task.batches(list(data.images("sample_train").values()), seed=0, batch_size=BATCH, size=40)
    key = keys.make_key(secrets.token_hex(32), owner=OWNER)
    print(f"marking the shipped DnCNN, {values.steps} steps …", flush=True)
    marked = embed(host, key, batches, steps=values.steps, batch_size=BATCH, lookahead=0.0)
    key = update_key(key, marked)
    (out / "key.npz").unlink(missing_ok=True)  # of an earlier demo
    keys.save_key(key, out / "key.npz")
    suspects = {"marked": marked, f"marked, {RATE:.0%} pruned": attacks.prune(marked, RATE), "unmarked": host}
    save_model(marked, out / "marked.keras")
    save_model(suspects[f"marked, {RATE:.0%} pruned"], out / "pruned.keras")
    judged = {}
    for name, model in suspects.items():
        judged[name] = judgement.judge(model, key, null_keys=values.null_keys)
        print(f"\n{name}: {judgement.words(judged[name])}", flush=True)
    _panel(out / "panel.png", key, judged, _denoised(suspects, task))
    print(f"\n{out}/: key.npz (secret), marked.keras, pruned.keras, panel.png")
    return 0 if [j.found for j in judged.values()] == [True, True, False] else 1


def _check_empty(out):
    """A ValueError unless the folder is free for a demo: nothing but what an earlier one made is replaced."""
    key = out / "key.npz"
    check_place(key, f"--out={out}")
    if key.exists() and keys.load_key(key).owner == OWNER:
        return
    if there := [path for path in map(out.joinpath, WRITTEN) if path.exists()]:
        raise ValueError(f"--out={out}: {there[0]} is there and no demo's; give another folder")


def _denoised(suspects, task):
    """{suspect: (denoised image, PSNR in dB)} of one bundled photograph."""
    ((noisy, clean),) = task.pairs([data.images("sample_test")["camera.png"][:256, :256]])
    made = {name: inference.restored(inference.predictor(model), noisy) for name, model in suspects.items()}
    return {name: (np.clip(image, 0, 1), f"PSNR {metrics.psnr(*task.comparable(image, clean)):.2f} dB")
            for name, image in made.items()}


def _panel(path, key, judged, denoised):
    """A row a suspect: K, S, its answer S', and a photograph that it denoises."""
    rows = []
    for name, j in judged.items():
        words = f"ρ = {j.verdict.rho:.2f}, z = {j.verdict.z_score:.0f}: {'found' if j.found else 'not found'}"
        rows.append([(key.trigger, ""), (key.verification, ""), (j.response, words), denoised[name]])
    titles = ("trigger image K", "expected answer S", "the model's answer", "a photograph, denoised")
    pictures.write(path, pictures.panels(rows, titles, list(judged)))
