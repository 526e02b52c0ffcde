"""RED: Mao et al., Image Restoration Using Very Deep Convolutional Encoder-Decoder Networks, NIPS 2016."""

import keras
from keras import layers

from watermark.hosts.initializers import near_zero


def red(depth: int = 13, filters: int = 64, kernel: int = 3, name: str = "red") -> keras.Model:
    """RED: convolutions, then as many transposed ones, with symmetric skips every second layer.

    A skip adds the encoder's output to the decoder's, then ReLU; the outermost adds the input itself and has no
    ReLU, because a verification image has negative pixels. No biases; batch norm on the middle layers. 408,064
    trainable parameters (the paper's 4.08e5).

    Returns:
      A `keras.Model`, float32 [B, H, W, 1] on [0, 1] -> same shape, any H and W.
    """
    conv = dict(padding="same", use_bias=False, kernel_initializer="he_normal")
    inputs = keras.Input((None, None, 1), name="noisy")
    x = layers.ReLU()(layers.Conv2D(filters, kernel, **conv)(inputs))
    encoded = [x]
    for _ in range(depth // 2 - 1):
        x = layers.Conv2D(filters, kernel, **conv)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        encoded.append(x)
    for mirror in reversed(range(1, depth // 2 + 1)):  # decoder layer `mirror` faces encoder layer `mirror`
        x = layers.Conv2DTranspose(filters, kernel, **conv)(x)
        x = layers.BatchNormalization()(x)
        if mirror % 2 == 0:
            x = layers.Add()([x, encoded[mirror - 1]])
        x = layers.ReLU()(x)
    x = layers.Conv2DTranspose(1, kernel, **(conv | {"kernel_initializer": near_zero()}))(x)
    return keras.Model(inputs, layers.Add()([inputs, x]), name=name)
