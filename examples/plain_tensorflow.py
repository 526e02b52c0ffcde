"""Uses a marked network from a program that knows TensorFlow only.

A SavedModel that `watermark export` wrote, or one that the project ships, is a SavedModel like any other: here it
denoises an image that this program makes. Seconds.

    python examples/plain_tensorflow.py [SAVED_MODEL]
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

SHIPPED = Path(__file__).parents[1] / "checkpoints" / "dncnn-marked"


def main(folder=SHIPPED):
    """Prints the PSNR of a noisy test image before and after the network."""
    model = tf.saved_model.load(str(folder))
    rows, columns = np.mgrid[0:128, 0:160] / 20.0
    clean = (0.5 + 0.4 * np.sin(rows) * np.cos(columns)).astype(np.float32)[None, ..., None]  # [1, H, W, 1] on [0, 1]
    noisy = clean + np.random.default_rng(0).normal(0.0, 25 / 255, clean.shape).astype(np.float32)
    denoised = model.serve(noisy)
    before, after = (float(tf.reduce_mean(tf.image.psnr(image, clean, 1.0))) for image in (noisy, denoised))
    print(f"noisy {before:.2f} dB, denoised {after:.2f} dB")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except OSError as error:
        sys.exit(f"error: {error}")
