"""Public pretrained weights: MatConvNet .mat files (v5 and v7.3) and Keras-2 .h5/.hdf5 files."""

from pathlib import Path

import h5py
import numpy as np
import scipy.io

from watermark.errors import WatermarkError
from watermark.hosts.dncnn import dncnn
from watermark.hosts.folding import fold_batch_norm
from watermark.hosts.red import red
from watermark.hosts.vdsr import vdsr
from watermark.models import load_model

BUILDERS = {"dncnn": dncnn, "srdncnn": dncnn, "red": red, "vdsr": vdsr}


class WeightsError(WatermarkError, ValueError):
    """A weights file that cannot be read as the host's."""


def load_pretrained(host, path):
    """A host with the weights of a public file.

    Args:
      host: "dncnn", "srdncnn", "red" or "vdsr".
      path: MatConvNet's .mat (batch norm merged), Keras-2 weights, or a whole Keras-2 model. The depth may differ
        from the paper's; the widths must be the host's.

    Returns:
      A `keras.Model`, float32 [B, H, W, 1] -> same shape.

    Raises:
      WeightsError: says what was found and what was expected.
    """
    path = Path(path)
    if host not in BUILDERS:
        raise ValueError(f"unknown host {host!r}; choose from {', '.join(BUILDERS)}")
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    read = {".mat": _from_mat, ".h5": _from_h5, ".hdf5": _from_h5}.get(path.suffix)
    if read is None:
        raise WeightsError(f"{path}: expected .mat, .h5 or .hdf5")
    try:
        return read(host, path)
    except (OSError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise WeightsError(f"{path} cannot be read as {host} weights: {error}") from error


def _from_mat(host, path):
    try:
        layers = _mat_v5(scipy.io.loadmat(path, struct_as_record=False, squeeze_me=True))
    except NotImplementedError:  # scipy's word for v7.3, which is HDF5
        with h5py.File(path) as file:
            layers = _mat_v73(file)
    except (ValueError, scipy.io.matlab.MatReadError) as error:
        raise WeightsError(f"{path} is not a MATLAB file: {error}") from error
    model = fold_batch_norm(BUILDERS[host](depth=max(len(layers), 3), name=host))
    convolutions = [layer for layer in model.layers if layer.weights]
    found = [kernel.shape for kernel, _ in layers]
    # MATLAB drops the axes of length 1.
    expected = [tuple(layer.kernel.shape) for layer in convolutions]
    if [np.squeeze(np.empty(s)).shape for s in found] != [np.squeeze(np.empty(s)).shape for s in expected]:
        raise WeightsError(f"{path}: found kernels {found}, expected for {host} {expected}")
    for layer, (kernel, bias) in zip(convolutions, layers, strict=True):
        layer.set_weights([np.reshape(kernel, layer.kernel.shape), np.reshape(bias, layer.bias.shape)])
    return model


def _mat_v5(content):
    """[(kernel [h, w, in, out], bias [out])] of `model.weight`, `model.bias`."""
    if "model" not in content:
        raise WeightsError(f"found variables {[k for k in content if k[0] != '_']}, expected a struct named model")
    model = content["model"]
    return list(zip(model.weight, map(np.atleast_1d, model.bias), strict=True))


def _mat_v73(file):
    """[(kernel [h, w, in, out], bias [out])] of the conv layers of `net.layers`; HDF5 shows MATLAB's axes reversed."""
    if "net" not in file or "layers" not in file["net"]:
        raise WeightsError(f"found variables {[k for k in file if k[0] != '#']}, expected net.layers")
    layers = [file[reference] for reference in np.ravel(file["net/layers"])]
    convolutions = [layer for layer in layers if "weights" in layer]
    pairs = [[np.array(file[reference]).T for reference in np.ravel(layer["weights"])] for layer in convolutions]
    return [(kernel, bias.ravel()) for kernel, bias in pairs]


def _from_h5(host, path):
    with h5py.File(path) as file:
        whole = "model_config" in file.attrs
        layers = {} if whole else _h5_layers(file)
    if whole:
        return _checked(load_model(path), path)
    convolutions = sum("kernel" in weights for weights in layers)
    model = BUILDERS[host](depth=max(convolutions, 3), name=host)
    targets = [layer for layer in model.layers if layer.weights]
    for layer, weights in zip(targets, layers, strict=False):
        if "kernel" in weights and getattr(layer, "use_bias", False):
            weights.setdefault("bias", np.zeros(layer.bias.shape, np.float32))  # DnCNN's authors' last layer has none
    found = [{name: value.shape for name, value in weights.items()} for weights in layers]
    expected = [{v.name: tuple(v.shape) for v in layer.weights} for layer in targets]
    if found != expected:
        raise WeightsError(f"{path}: found layers {found[:3]}… ({len(found)}), "
                           f"expected for {host} {expected[:3]}… ({len(expected)})")
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


def _checked(model, path):
    if len(model.inputs) != 1 or model.input_shape[-1] != 1 or model.output_shape[-1] != 1:
        raise WeightsError(f"{path}: found a model {model.input_shape} -> {model.output_shape}, "
                           "expected one grey image to one grey image")
    return model
