"""VDSR: Kim et al., Accurate Image Super-Resolution Using Very Deep Convolutional Networks, CVPR 2016."""

import keras
from keras import layers

from watermark.hosts.initializers import near_zero


def vdsr(depth: int = 20, filters: int = 64, kernel: int = 3, name: str = "vdsr") -> keras.Model:
    """VDSR: adds the missing detail to a luminance image already brought to size by bicubic interpolation.

    665,921 parameters.

    Returns:
      A `keras.Model`, float32 [B, H, W, 1] on [0, 1] -> same shape, any H and W.
    """
    conv = dict(padding="same", kernel_initializer="he_normal")
    inputs = keras.Input((None, None, 1), name="upsampled")
    x = inputs
    for _ in range(depth - 1):
        x = layers.Conv2D(filters, kernel, activation="relu", **conv)(x)
    detail = layers.Conv2D(1, kernel, **(conv | {"kernel_initializer": near_zero()}))(x)
    return keras.Model(inputs, layers.Add()([inputs, detail]), name=name)
