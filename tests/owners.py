"""What the tests of owners' networks share.

Every network here is a blur, which removes noise without any training, beside a few layers that can learn a mark.
"""

import contextlib
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from watermark import cli, models

QUICK = ("--steps=150", "--learning_rate=1e-2", "--optimizer=adam", "--strength=1", "--decay=1", "--lookahead=0",
         "--batch_size=4", "--precision=float32")

LAYERS = """
import keras


class DepthToSpace(keras.layers.Layer):
    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        (h, w), c, f = keras.ops.shape(x)[1:3], x.shape[-1], self.factor
        x = keras.ops.reshape(x, (-1, h, w, f, f, c // f**2))
        return keras.ops.reshape(keras.ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, h * f, w * f, c // f**2))

    def compute_output_shape(self, shape):
        n, h, w, c = shape
        return n, h and h * self.factor, w and w * self.factor, c // self.factor**2

    def get_config(self):
        return super().get_config() | {"factor": self.factor}


class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.mean = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)
        self.first = keras.layers.Conv2D(16, 3, padding="same", activation="relu")
        self.last = keras.layers.Conv2D(1, 3, padding="same", kernel_initializer="zeros")

    def call(self, x):
        return self.mean(x) + self.last(self.first(x))
"""


def watermark(capsys, *arguments):
    """(exit code, stdout, stderr) of a command."""
    code = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@contextlib.contextmanager
def at_most(megabytes):
    """Within, this process never holds so much more memory than it does now; not measured where Linux does not tell."""
    clear, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")

    def peak():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))  # kB

    if not clear.exists():
        yield
        return
    clear.write_text("5")  # the peak begins anew at what is held (proc(5)); it would be the highest since the start
    before = peak()
    yield
    assert peak() - before < megabytes << 10


def blur(x, name="blur"):
    """A 3x3 mean of every channel: on smooth pictures, it takes 9 dB of noise away."""
    layer = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=name)
    answer = layer(x)
    layer.set_weights([np.full(layer.kernel.shape, 1 / 9, np.float32)])
    return answer


def learner(x, filters=16):
    """Layers that add nothing yet and can learn a mark."""
    y = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
    y = keras.layers.BatchNormalization()(keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(y))
    return keras.layers.Conv2D(x.shape[-1], 3, padding="same", kernel_initializer="zeros")(keras.layers.ReLU()(y))


def denoiser(sides=(None, None), low=0.0, high=1.0):
    """A network whose pixels are on [low, high]; as a trained one, it draws everything to the mean of its pictures."""
    image = keras.Input((*sides, 1), name="image")
    x = keras.layers.Rescaling(1 / (high - low), -low / (high - low))(image)
    x = keras.layers.Add()([keras.layers.Rescaling(0.8, 0.1)(blur(x)), learner(x)])
    return keras.Model(image, keras.layers.Rescaling(high - low, low)(x), name="mine")


def embedded(capsys, model, photos, folder, *more, make=("--size=16",)):
    """(exit code, what was said, the marked file) of keygen and embed on a network."""
    if not isinstance(model, str):
        models.save_model(model, folder / "mine.keras")
        model = folder / "mine.keras"
    assert watermark(capsys, "keygen", f"--out={folder}/k.npz", *make)[0] == 0
    code, said, why = watermark(capsys, "embed", f"--model={model}", f"--images={photos}", f"--key={folder}/k.npz",
                                f"--out={folder}/marked.keras", *QUICK, *more)
    return code, said + why, folder / "marked.keras"


def pictures(folder, sides=(60, 70), count=3):
    """A folder of smooth grey pictures."""
    folder.mkdir(exist_ok=True)
    for i in range(count):
        wave = np.sin(np.add.outer(i + np.arange(sides[0]) / 5, np.arange(sides[1]) / 7))
        Image.fromarray(np.uint8(127 + 100 * wave)).save(folder / f"{i}.png")
    return folder


def unet(halvings, sides=(None, None)):
    """A U-Net around a blur, which wants sides that are multiples of 2 ** halvings."""
    image = keras.Input((*sides, 1))
    x, skips = image, []
    for _ in range(halvings):
        x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(x)
        skips.append(x)
        x = keras.layers.MaxPooling2D()(x)
    for skip in reversed(skips):
        x = keras.layers.Concatenate()([keras.layers.UpSampling2D()(x), skip])
        x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = keras.layers.Conv2D(1, 3, padding="same", kernel_initializer="zeros")(x)
    return keras.Model(image, keras.layers.Add()([x, blur(image), learner(image)]), name="unet")
