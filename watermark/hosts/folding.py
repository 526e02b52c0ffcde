"""Batch norm folded into the convolutions before it."""

import keras
from keras import layers


def foldable(model):
    """{batch norm's name: convolution} for each norm that sees nothing but one convolution's linear output."""
    pairs = {}
    for layer in model.layers:
        if not isinstance(layer, layers.BatchNormalization) or len(layer._inbound_nodes) != 1:
            continue
        parents = [node.operation for node in layer._inbound_nodes[0].parent_nodes]
        if len(parents) != 1 or type(parents[0]) not in (layers.Conv2D, layers.Conv2DTranspose):
            continue
        conv = parents[0]
        linear = conv.activation is keras.activations.linear
        alone = len(conv._inbound_nodes) == 1 and len(conv._outbound_nodes) == 1 and conv.output not in model.outputs
        if linear and alone and conv.data_format == "channels_last":
            pairs[layer.name] = conv
    return pairs


def _folded_weights(conv, norm):
    """Kernel and bias of the convolution that does what `conv` followed by `norm` does in inference."""
    ops = keras.ops
    channels = norm.moving_mean.shape
    gamma = norm.gamma if norm.scale else ops.ones(channels)
    beta = norm.beta if norm.center else ops.zeros(channels)
    factor = gamma / ops.sqrt(norm.moving_variance + norm.epsilon)
    bias = conv.bias if conv.use_bias else ops.zeros(channels)
    # A transposed convolution's kernel is [h, w, out, in].
    per_output = factor[:, None] if isinstance(conv, layers.Conv2DTranspose) else factor
    return [conv.kernel * per_output, (bias - norm.moving_mean) * factor + beta]


def fold_batch_norm(model):
    """A copy of `model` whose batch norms are folded into the convolutions before them.

    The outputs are the inference outputs of `model`, up to rounding (below 1e-5 for images on [0, 1]). Folded,
    a trigger image cannot disturb the statistics of the images beside it, and a training step is cheaper. A norm
    that has no convolution of its own before it stays as it is.

    Raises:
      TypeError: for a model that is not functional, whose graph cannot be read.
    """
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs, model.outputs, name=model.name)
    if not hasattr(model, "operations"):
        raise TypeError(f"expected a functional or sequential Keras model, got {type(model).__name__}")
    pairs = foldable(model)
    norms = {conv.name: model.get_layer(norm) for norm, conv in pairs.items()}

    def copy(layer):
        config = layer.get_config()
        if layer.name in norms:
            config["use_bias"] = True
        return type(layer).from_config(config)

    def call(layer, *args, **kwargs):
        return args[0] if layer.name in pairs else layer(*args, **kwargs)

    folded = keras.models.clone_model(model, clone_function=copy, call_function=call)
    for layer in model.layers:
        if layer.name in norms:
            folded.get_layer(layer.name).set_weights(_folded_weights(layer, norms[layer.name]))
        elif layer.weights and layer.name not in pairs:
            folded.get_layer(layer.name).set_weights(layer.get_weights())
    return folded
