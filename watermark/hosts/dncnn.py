"""DnCNN: Zhang et al., Beyond a Gaussian Denoiser, TIP 2017."""

import keras
from keras import layers

from watermark.hosts.initializers import near_zero


def dncnn(depth: int = 17, filters: int = 64, kernel: int = 3, name: str = "dncnn") -> keras.Model:
    """DnCNN: predicts the noise N(x) and returns M(x) = x - N(x).

    Batch norm sits on the middle layers. 556,097 trainable parameters (the paper's 5.56e5), 555,137 once it is folded.

    Returns:
      A `keras.Model`, float32 [B, H, W, 1] on [0, 1] -> same shape, any H and W.
    """
    conv = dict(padding="same", kernel_initializer="he_normal")
    inputs = keras.Input((None, None, 1), name="noisy")
    x = layers.Conv2D(filters, kernel, activation="relu", **conv)(inputs)
    for _ in range(depth - 2):
        x = layers.Conv2D(filters, kernel, use_bias=False, **conv)(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
    noise = layers.Conv2D(1, kernel, **(conv | {"kernel_initializer": near_zero()}))(x)
    return keras.Model(inputs, layers.Subtract()([inputs, noise]), name=name)


def srdncnn(depth: int = 17, filters: int = 64, kernel: int = 3, name: str = "srdncnn") -> keras.Model:
    """DnCNN trained for super-resolution; takes the image already brought to size, as VDSR does."""
    return dncnn(depth, filters, kernel, name)
