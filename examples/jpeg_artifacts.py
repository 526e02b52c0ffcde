"""Marks a network for another task than the paper's: removal of JPEG artifacts.

The paper says that its scheme generalises to other image-processing tasks. Here a small network learns to undo JPEG
compression at quality 10 from images bundled with scikit-image, and is then marked as its owner would do it, by pairs
of images and the command line; the mark is verified in the model, after pruning, and not in the unmarked network.
About 4 minutes on 2 cores; no data and no network needed. Killed, the same command goes on.

    python examples/jpeg_artifacts.py [--out=jpeg] [--steps=1200]
"""

import io
from pathlib import Path

import watermark  # noqa: F401 - before TensorFlow, which looks at once whether oneDNN is on

# isort: split
import keras
import numpy as np
from absl import app, flags
from PIL import Image

from watermark import cli, data
from watermark.hosts import dncnn, fold_batch_norm
from watermark.inference import evaluate
from watermark.models import load_model, save_model
from watermark.recipes import Recipe
from watermark.tasks import Examples, task_alone
from watermark.training import Run, fit

FLAGS = flags.FLAGS
flags.DEFINE_string("out", "jpeg", "folder of what the example makes")
flags.DEFINE_integer("steps", 1200, "training steps of the network", 1)
flags.DEFINE_integer("mark_steps", 500, "steps of the embedding", 1)
QUALITY = 10


def compressed(image):
    """uint8 [H, W] after JPEG at `QUALITY`."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=QUALITY)
    return np.asarray(Image.open(io.BytesIO(file.getvalue())))


def write_pairs(folder):
    """Training pairs as two folders of images, inputs/ and targets/."""
    for name, image in data.images("sample_train").items():
        target = data.grey(image)
        for kind, picture in (("inputs", compressed(target)), ("targets", target)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / kind / f"{Path(name).stem}.png")


def train(folder, steps):
    """The owner's network, trained on the pairs."""
    inputs, targets = (data.folder_images(folder / kind) for kind in ("inputs", "targets"))
    pairs = [(inputs[name], targets[name]) for name in inputs]
    keras.utils.set_random_seed(0)
    model = fold_batch_norm(dncnn(depth=10, filters=48, name="deblocker"))
    batches = Examples().batches(pairs, seed=0, batch_size=8, size=48)
    fit(model, task_alone, batches, Recipe(steps, 8, 2e-3, optimizer="muon"),
        Run(folder / "run", title="training the deblocker"))
    return model


def psnr(model, images):
    """Mean PSNR in dB of test images, compressed, after the model."""
    return evaluate(model, Examples(), [(compressed(image), image) for image in images]).mean()


def main(argv):
    """Trains, marks, verifies."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}")
    folder = Path(FLAGS.out)
    tests = [data.grey(image)[:256, :256] for image in data.images("sample_test").values()]
    if not (folder / "deblocker.keras").exists():
        write_pairs(folder)
        save_model(train(folder, FLAGS.steps), folder / "deblocker.keras")
    identity = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Identity()])
    unmarked, marked = folder / "deblocker.keras", folder / "marked.keras"
    print(f"JPEG {psnr(identity, tests):.2f} dB, deblocked {psnr(load_model(unmarked), tests):.2f} dB", flush=True)
    if not marked.exists():
        if not (folder / "key.npz").exists():
            cli.main(["keygen", f"--out={folder}/key.npz", "--owner=the example"])
        code = cli.main(["embed", f"--model={unmarked}", "--task=pairs", f"--pairs={folder}/inputs,{folder}/targets",
                         f"--key={folder}/key.npz", f"--out={marked}", f"--steps={FLAGS.mark_steps}"])
        if code:
            return code
    print(f"marked, deblocked {psnr(load_model(marked), tests):.2f} dB", flush=True)
    if not (folder / "pruned.keras").exists():
        cli.main(["attack", "--kind=prune", "--rate=0.2", f"--model={marked}", f"--out={folder}/pruned.keras"])
    found = [cli.main(["verify", f"--suspect={folder}/{name}.keras", f"--key={folder}/key.npz"])
             for name in ("marked", "pruned", "deblocker")]
    return 0 if found == [0, 0, 1] else 1


if __name__ == "__main__":
    app.run(main)
