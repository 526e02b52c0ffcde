"""Suspects that are files for other runtimes: SavedModel, TFLite (LiteRT), ONNX."""

import warnings
from pathlib import Path

import numpy as np
import tensorflow as tf

from watermark.inference import SuspectError
from watermark.limits import check_onnx, check_saved_model, check_tflite
from watermark.models import ModelError, first_line


def is_saved_model(path):
    """Whether a folder is a SavedModel."""
    return (Path(path) / "saved_model.pb").exists()


def load_saved_model(path, *, signature=None, output=None):
    """A suspect from a SavedModel folder; inputs go in by name. Arguments as for `load_suspect`."""
    check_saved_model(path)
    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:
        raise ModelError(f"{path} cannot be read as a SavedModel: {first_line(error)}") from error
    there = sorted(loaded.signatures)  # a SavedModel's own order differs from run to run
    name = signature or ("serving_default" if "serving_default" in there or len(there) != 1 else there[0])
    if name not in there:
        raise ModelError(f"{path} has no signature {name!r}; choose one (--signature) of {', '.join(there) or 'none'}")
    function = loaded.signatures[name]
    _, inputs = function.structured_input_signature
    entry = _only(sorted(inputs), f"{path}, signature {name}, takes the inputs")
    exit_ = _chosen(sorted(function.structured_outputs), output, path)
    dtype = inputs[entry].dtype

    def suspect(images):
        return _attempt(lambda x: function(**{entry: tf.cast(x, dtype)})[exit_].numpy(), images, path)

    suspect.loaded = loaded  # or its variables would be collected
    return suspect


def load_tflite(path, *, output=None):
    """A suspect from a TFLite file, run by LiteRT; integer models are fed and read by their own scales."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise ModelError(f"{path} needs LiteRT: pip install ai-edge-litert") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            interpreter = Interpreter(model_path=str(path))
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{path} cannot be read as a TFLite model: {first_line(error)}") from error
    entry = _only(interpreter.get_input_details(), f"{path} takes the inputs", lambda d: d["name"])
    found = {detail["name"]: detail["index"] for detail in interpreter.get_output_details()}
    index = found[_chosen(list(found), output, path)]

    def one(image):
        interpreter.resize_tensor_input(entry["index"], image.shape)
        interpreter.allocate_tensors()
        check_tflite(path, interpreter.get_tensor_details())
        interpreter.set_tensor(entry["index"], _quantized(image, entry))
        interpreter.invoke()
        detail = next(d for d in interpreter.get_output_details() if d["index"] == index)
        return _real(interpreter.get_tensor(index), detail)

    def suspect(images):
        return _attempt(lambda x: np.concatenate([one(image[None]) for image in x]), images, path)

    return suspect


def load_onnx(path, *, output=None):
    """A suspect from an ONNX file, run by ONNX Runtime."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError(f"{path} needs ONNX Runtime: pip install onnx onnxruntime") from error
    check_onnx(path)
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(f"{path} cannot be read as an ONNX model: {first_line(error)}") from error
    entry = _only([i.name for i in session.get_inputs()], f"{path} takes the inputs")
    exit_ = _chosen([o.name for o in session.get_outputs()], output, path)

    def suspect(images):
        return _attempt(lambda x: session.run([exit_], {entry: np.asarray(x, np.float32)})[0], images, path)

    return suspect


def _attempt(run, images, path):
    try:
        return np.asarray(run(np.asarray(images, np.float32)), np.float32)
    except Exception as error:
        shape = list(np.shape(images))
        raise SuspectError(f"{path} does not answer images of shape {shape}: {first_line(error)}") from error


def _quantized(image, detail):
    scale, zero = detail["quantization"]
    if detail["dtype"] == np.float32 or not scale:
        return image.astype(detail["dtype"])
    limits = np.iinfo(detail["dtype"])
    return np.clip(np.round(image / scale) + zero, limits.min, limits.max).astype(detail["dtype"])


def _real(answer, detail):
    scale, zero = detail["quantization"]
    return (answer.astype(np.float32) - zero) * scale if scale and answer.dtype != np.float32 else answer


def _only(items, what, name=str):
    if len(items) != 1:
        raise ModelError(f"{what} {', '.join(map(name, items)) or 'none'}; expected one, an image")
    return items[0]


def _chosen(names, wanted, path):
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted not in names:
        raise ModelError(f"{path} has the outputs {', '.join(names)}; name one of them (--output=NAME)")
    return wanted
