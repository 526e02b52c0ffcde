"""Public pretrained weights: MatConvNet .mat files (v5 and v7.3) and Keras-2 .h5/.hdf5 files."""

import itertools
from pathlib import Path

import h5py
import keras
import numpy as np
import scipy.io

from watermark import limits
from watermark.errors import ModelError, WatermarkError, first_line
from watermark.hosts.folding import fold_batch_norm
from watermark.hosts.known import get_host
from watermark.models import load_model

SIDE = 11  # of the largest kernel that a host is built with to be compared
MERGES = ("Add", "Subtract")  # by which a network differs from another of the same kernels


class WeightsError(WatermarkError, ValueError):
    """A weights file that cannot be read as the host's."""


def load_pretrained(host: str, path: str | Path) -> keras.Model:
    """A host with the weights of a public file.

    Args:
      host: a name in `HOSTS`, or the paper's spelling of it.
      path: MatConvNet's .mat (batch norm merged), Keras-2 weights, or a whole Keras-2 model. The depth may differ
        from the paper's, and in a whole model the side of the kernels; the widths must be the host's.

    Returns:
      A `keras.Model`, float32 [B, H, W, 1] -> same shape.

    Raises:
      ValueError: for a host that there is not.
      WeightsError: says what was found and what was expected.
    """
    host, path = get_host(host), Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    read = {".mat": _from_mat, ".h5": _from_h5, ".hdf5": _from_h5}.get(path.suffix)
    if read is None:
        raise WeightsError(f"{path}: expected .mat, .h5 or .hdf5")
    try:
        return read(host, path)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    except ModelError as error:  # which names the file
        raise WeightsError(str(error)) from error
    except Exception as error:  # a damaged file makes the readers raise anything
        raise WeightsError(f"{path} cannot be read as {host.name} weights: {first_line(error)}") from error


def _from_mat(host, path):
    try:
        layers = _mat_v5(scipy.io.loadmat(path, struct_as_record=False, squeeze_me=True))
    except NotImplementedError:  # scipy's word for v7.3, which is HDF5
        with h5py.File(path) as file:
            limits.check_weights(path, file, path.stat().st_size)
            layers = _mat_v73(file)
    model = fold_batch_norm(host.build(depth=max(len(layers), 3)))
    convolutions = [layer for layer in model.layers if layer.weights]
    # MATLAB drops the axes of length 1.
    found, expected = ([(_long(kernel.shape), int(np.prod(bias.shape))) for kernel, bias in pairs] for pairs in (
        layers, [(layer.kernel, layer.bias) for layer in convolutions]))
    _compare(host, found, expected, "(kernel, biases)")
    for layer, (kernel, bias) in zip(convolutions, layers, strict=True):
        layer.set_weights([np.reshape(kernel, layer.kernel.shape), np.reshape(bias, layer.bias.shape)])
    return model


def _long(shape):
    """A shape without its axes of length 1."""
    return tuple(side for side in shape if side != 1)


def _compare(host, found, expected, what):
    """A WeightsError with the first of a file's layers that is not the host's."""
    for i, (one, other) in enumerate(itertools.zip_longest(found, expected, fillvalue="none")):
        if one != other:
            raise WeightsError(f"found {len(found)} layers, of which number {i + 1} is {one} {what}, expected "
                               f"{other} for {host.name} of {len(expected)}; is it of another host?")


def _mat_v5(content):
    """[(kernel [h, w, in, out], bias [out])] of `model.weight`, `model.bias`."""
    if "model" not in content:
        raise WeightsError(f"found variables {[k for k in content if k[0] != '_']}, expected a struct named model")
    model = content["model"]
    if not {"weight", "bias"} <= set(getattr(model, "_fieldnames", ())):
        raise WeightsError("found a variable model that is no struct of weight and bias, as MatConvNet writes them")
    weights, biases = ([*map(np.asarray, np.atleast_1d(field))] for field in (model.weight, model.bias))
    if len(weights) != len(biases):
        raise WeightsError(f"found {len(weights)} weights and {len(biases)} biases, expected as many of one as of the "
                           "other")
    return list(zip(weights, biases, strict=True))


def _mat_v73(file):
    """[(kernel [h, w, in, out], bias [out])] of the conv layers of `net.layers`; HDF5 shows MATLAB's axes reversed."""
    if "net" not in file or "layers" not in file["net"]:
        raise WeightsError(f"found variables {[k for k in file if k[0] != '#']}, expected net.layers")
    layers = [file[reference] for reference in np.ravel(file["net/layers"])]
    convolutions = [layer for layer in layers if "weights" in layer]
    pairs = [[np.array(file[reference]).T for reference in np.ravel(layer["weights"])] for layer in convolutions]
    if odd := [len(pair) for pair in pairs if len(pair) != 2]:
        raise WeightsError(f"found a layer of {odd[0]} arrays of weights, expected a kernel and a bias in each")
    return [(kernel, bias.ravel()) for kernel, bias in pairs]


def _from_h5(host, path):
    with h5py.File(path) as file:
        limits.check_weights(path, file, path.stat().st_size)
        whole = "model_config" in file.attrs
        layers = {} if whole else _h5_layers(file)
    if whole:
        return _checked(load_model(path), host)
    convolutions = sum("kernel" in weights for weights in layers)
    model = host.build(depth=max(convolutions, 3))
    targets = [layer for layer in model.layers if layer.weights]
    for layer, weights in zip(targets, layers, strict=False):
        if "kernel" in weights and getattr(layer, "use_bias", False):
            weights.setdefault("bias", np.zeros(layer.bias.shape, np.float32))  # DnCNN's authors' last layer has none
    found = [{name: value.shape for name, value in weights.items()} for weights in layers]
    expected = [{v.name: tuple(v.shape) for v in layer.weights} for layer in targets]
    _compare(host, found, expected, "(weights)")
    for layer, weights in zip(targets, layers, strict=True):
        layer.set_weights([weights[v.name] for v in layer.weights])
    return model


def _h5_layers(file):
    """[{weight's name: array}] of the layers that have weights, in the model's order."""
    if "layer_names" not in file.attrs:
        raise WeightsError(f"found groups {list(file)[:5]}, expected a Keras weights file (attribute layer_names)")
    layers = []
    for name in file.attrs["layer_names"]:
        group = file[name]
        weights = {str(w).rsplit("/", 1)[-1].split(":")[0]: np.array(group[w])
                   for w in (n.decode() if isinstance(n, bytes) else n for n in group.attrs["weight_names"])}
        if weights:
            layers.append(weights)
    return layers


def _checked(model, host):
    """A whole model, if its kernels and the additions between them are the host's; norms and activations vary."""
    if len(model.inputs) != 1 or model.input_shape[-1] != 1 or model.output_shape[-1] != 1:
        raise WeightsError(f"found a model {model.input_shape} -> {model.output_shape}, expected one grey image to one "
                           "grey image")
    found = list(_parts(model))
    shapes = [shape for _, shape in found if shape]
    expected = list(_parts(host.build(depth=max(len(shapes), 3), kernel=min(shapes[0][0], SIDE) if shapes else 3)))
    # As sets: what depth there is, and which layers a skip joins, differ among public networks.
    if strange := set(found) ^ set(expected):
        raise WeightsError(f"found a network with {_told(found, strange)}, expected for {host.name} "
                           f"{_told(expected, strange)}; is it of another host?")
    return model


def _told(parts, strange):
    """Those parts that are strange, in a few words."""
    return " and ".join(sorted({f"{name} {list(shape)}" if shape else name for name, shape in parts
                                if (name, shape) in strange})[:3]) or "nothing else"


def _parts(model):
    """(class, kernel's shape) of a model's layers that have a kernel, and of its `MERGES`, in the model's order."""
    for one in getattr(model, "operations", None) or model.layers:
        if hasattr(one, "layers"):
            yield from _parts(one)
        elif hasattr(one, "kernel") or type(one).__name__ in MERGES:
            yield type(one).__name__, tuple(one.kernel.shape) if hasattr(one, "kernel") else ()
