"""The same function, cheaper to train: batch norm folded into the convolutions before it, and plain convolutions."""

import keras
from keras import layers


def every_layer(model: keras.Model) -> list[keras.Layer]:
    """The layers of a model, and of the networks within it."""
    return list(model._flatten_layers(include_self=False))


def norms(model: keras.Model) -> list[keras.Layer]:
    """The batch norms among `every_layer`."""
    return [layer for layer in every_layer(model) if isinstance(layer, layers.BatchNormalization)]


def always_training(layer: keras.Layer) -> bool:
    """Whether a layer of a functional model was called with training=True, and so answers in inference, too."""
    return any(node.arguments.kwargs.get("training") for node in layer._inbound_nodes)


def foldable(model: keras.Model) -> dict[str, keras.Layer]:
    """{batch norm's name: convolution} for each norm that sees nothing but one convolution's linear output.

    None that is always in training: what it answers is not what its statistics say.
    """
    pairs = {}
    for layer in model.layers:
        if not isinstance(layer, layers.BatchNormalization) or len(layer._inbound_nodes) != 1:
            continue
        if layer.axis not in (-1, 3) or always_training(layer):
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


def plain(layer: keras.Layer) -> bool:
    """Whether a layer is a transposed convolution that is a convolution: stride 1, odd kernel, same size.

    oneDNN computes these another way; as convolutions, RED's training step runs at 1.4 times the rate (docs/hosts.md).
    """
    return (type(layer) is layers.Conv2DTranspose and layer.padding == "same" and set(layer.strides) == {1}
            and set(layer.dilation_rate) == {1} and all(side % 2 for side in layer.kernel_size)
            and layer.output_padding is None and layer.data_format == "channels_last"
            and getattr(layer, "groups", 1) == 1)


def _as_convolution(layer):
    """The untrained `Conv2D` that can do what a `plain` transposed convolution does; its kernel is `_turned`."""
    config = layer.get_config()
    config.pop("output_padding")
    return layers.Conv2D.from_config(config)


def _turned(kernel):
    """[h, w, out, in] of a transposed convolution as the [h, w, in, out] of the equal convolution."""
    return keras.ops.transpose(keras.ops.flip(kernel, (0, 1)), (0, 1, 3, 2))


def code_alone(layer: keras.Layer) -> bool:
    """Whether a layer is a function without weights, which a copy of a network shares: Keras copies no code."""
    return isinstance(layer, layers.Lambda) and not layer.weights


def _nested(layer):
    return isinstance(layer, keras.Sequential) or isinstance(layer, keras.Model) and hasattr(layer, "operations")


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """A copy of `model` whose batch norms are folded into the convolutions before them.

    Transposed convolutions that are convolutions (`plain`) become such, and so it goes in networks within the network.

    The outputs are the inference outputs of `model`, up to rounding (below 1e-5 for images on [0, 1]). Folded,
    a trigger image cannot disturb the statistics of the images beside it, and a training step is cheaper. A norm
    that has no convolution of its own before it stays as it is.

    Raises:
      TypeError: for a model that is not functional, whose graph cannot be read.
    """
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    if not hasattr(model, "operations"):
        raise TypeError(f"expected a functional or sequential Keras model, got {type(model).__name__}")
    pairs = foldable(model)
    norm_of = {conv.name: model.get_layer(norm) for norm, conv in pairs.items()}

    def copy(layer):
        if code_alone(layer):
            return layer
        if _nested(layer):
            return fold_batch_norm(layer)
        layer = _as_convolution(layer) if plain(layer) else layer
        config = layer.get_config()
        if layer.name in norm_of:
            config["use_bias"] = True
        return type(layer).from_config(config)

    def call(layer, *args, **kwargs):
        return args[0] if layer.name in pairs else layer(*args, **kwargs)

    folded = keras.models.clone_model(model, clone_function=copy, call_function=call)
    for layer in model.layers:
        if not layer.weights or layer.name in pairs or _nested(layer):
            continue
        weights = _folded_weights(layer, norm_of[layer.name]) if layer.name in norm_of else layer.get_weights()
        if plain(layer):
            weights = [_turned(weights[0]), *weights[1:]]
        folded.get_layer(layer.name).set_weights(weights)
    return folded
