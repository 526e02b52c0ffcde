"""Denoises a colour photograph with a marked network that knows grey images, and saves the result. Seconds.

The network takes float32 images [N, H, W, 1] on [0, 1]: the photograph's 8-bit pixels are divided by 255, and its three
colours go through as three grey images. Its answers leave [0, 1] a little, so they are clipped before they become 8-bit
pixels again; without clipping, -0.01 would be saved as 253, a white speck in a shadow.

    python examples/colour_photograph.py [PHOTO.jpg] [DENOISED.png]
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

SHIPPED = Path(__file__).parents[1] / "checkpoints" / "dncnn-marked"
SIGMA = 25 / 255  # of the noise that the network is trained for


def read(path=None):
    """float32 [H, W, 3] on [0, 1]: a photograph, upright, or the one that scikit-image brings."""
    if path is None:
        from skimage import data

        return np.float32(data.astronaut()[:256, 64:320] / 255.0)
    with Image.open(path) as photograph:
        return np.float32(np.asarray(ImageOps.exif_transpose(photograph).convert("RGB")) / 255.0)


def denoise(model, image):
    """float32 [H, W, 3] -> [H, W, 3]: each colour as a grey image of a batch of three."""
    colours = np.moveaxis(image, -1, 0)[..., None]  # [3, H, W, 1]
    return np.moveaxis(model.serve(colours).numpy()[..., 0], 0, -1)


def save(image, path):
    """Clips to [0, 1], rounds to 8 bits, writes."""
    Image.fromarray(np.uint8(np.round(255.0 * np.clip(image, 0.0, 1.0)))).save(path)


def psnr(image, clean):
    """In dB, on what is saved: clipped."""
    return -10.0 * np.log10(np.mean((np.clip(image, 0.0, 1.0) - clean) ** 2))


def main(photograph=None, out="denoised.png"):
    """Adds noise, denoises, saves both, prints the PSNR of both."""
    clean, model, out = read(photograph), tf.saved_model.load(str(SHIPPED)), Path(out)
    noisy = clean + np.random.default_rng(0).normal(0.0, SIGMA, clean.shape).astype(np.float32)
    denoised = denoise(model, noisy)
    save(noisy, out.with_stem(f"{out.stem}-noisy"))
    save(denoised, out)
    print(f"noisy {psnr(noisy, clean):.2f} dB, denoised {psnr(denoised, clean):.2f} dB: {out}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except OSError as error:
        sys.exit(f"error: {error}")
