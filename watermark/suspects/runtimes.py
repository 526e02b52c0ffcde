"""Suspects that are files for other runtimes: SavedModel, TFLite (LiteRT), ONNX."""

from __future__ import annotations

import functools
import math
import warnings
from pathlib import Path

import numpy as np
import tensorflow as tf

from watermark import footprint
from watermark.errors import ModelError, chosen, first_line
from watermark.limits import check_onnx, check_saved_model, questions, tflite_arrays
from watermark.ports import ModelFile, Port

SIGNATURES = 8  # others of a SavedModel that are asked, each of which takes as long as the first
ONNX_NAMES = {"float": "float32", "double": "float64"}  # those that are not numpy's


def is_saved_model(path: str | Path) -> bool:
    """Whether a folder is a SavedModel."""
    return (Path(path) / "saved_model.pb").exists()


def load_saved_model(path: str | Path, *, signature: str | None = None, output: str | None = None) -> ModelFile:
    """A suspect from a SavedModel folder; inputs go in by name. Arguments as for `load_suspect`.

    Where no signature is named, what the others say is in `ModelFile.more`.
    """
    check_saved_model(path)
    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:
        raise ModelError(f"{path} cannot be read as a SavedModel: {first_line(error)}") from error
    there = sorted(loaded.signatures)  # a SavedModel's own order differs from run to run
    name = signature or ("serving_default" if "serving_default" in there or len(there) != 1 else there[0])
    if name not in there:
        way = f"choose one (--signature) of {', '.join(there)}" if there else (
            "it has none at all: save it with tf.saved_model.save(..., signatures=...)")
        raise ModelError(f"{path} has no signature {name!r}; {way}")
    function = loaded.signatures[name]
    _, inputs = function.structured_input_signature
    entry = _only(sorted(inputs), f"{path}, signature {name}, takes the inputs")
    exit_ = chosen(sorted(function.structured_outputs), output, path)

    def run(images, loaded=loaded):  # held here, or its variables would be collected
        return function(**{entry: tf.constant(images)})[exit_].numpy()

    most = questions(path, "would make images of", footprint.traced(function))
    more = {} if signature else _others(path, {
        other: sorted(loaded.signatures[other].structured_outputs) for other in there if other != name}, output)
    notes = [f"of its other signatures and outputs {len(more)}, the first {SIGNATURES} are looked at where the mark is "
             "not found; name one (--signature, --output)"] if len(more) > SIGNATURES else []
    more = dict(list(more.items())[:SIGNATURES])
    return ModelFile(path, _port(inputs[entry]), _port(function.structured_outputs[exit_]), run, most, notes=notes,
                     more=more)


def _others(path, signatures, output):
    """`ModelFile.more` of {signature: its outputs}. Each is loaded anew: one may change the variables of another."""
    found = {}
    for name, outputs in signatures.items():
        for one in [output] if output in outputs else outputs:
            words = f"by its signature {name}{f', output {one}' if outputs[1:] else ''}"
            found[words] = functools.partial(load_saved_model, path, signature=name, output=one)
    return found


def _port(spec):
    if spec.dtype == tf.string:
        raise ModelError("the signature takes or gives strings, as servers do for image files; choose one of numbers "
                         "(--signature), or serve the model and give its URL")
    return Port(None if spec.shape.rank is None else tuple(spec.shape.as_list()), np.dtype(spec.dtype.as_numpy_dtype))


def load_tflite(path: str | Path, *, output: str | None = None) -> ModelFile:
    """A suspect from a TFLite file, run by LiteRT; integer models are fed and read by their own scales."""
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError as error:
        raise ModelError(f"{path} needs LiteRT: pip install ai-edge-litert") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            interpreter = Interpreter(model_path=str(path))
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{path} cannot be read as a TFLite model: {first_line(error)}") from error
    entry = _only(interpreter.get_input_details(), f"{path} takes the inputs", lambda d: d["name"])
    found = {detail["name"]: detail for detail in interpreter.get_output_details()}
    exit_ = found[chosen(list(found), output, path)]
    ready = []

    def sized(interpreter, shape):
        interpreter.resize_tensor_input(entry["index"], shape)
        try:
            interpreter.allocate_tensors()
        except RuntimeError as error:
            raise ModelError(str(error) or "its arrays would take more memory than there is") from error
        return interpreter

    def needed(shape):
        # Without delegates memory is asked for and not touched; LiteRT's own one, XNNPACK, fills it.
        plain = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
        sized(plain, shape)
        return sum(tflite_arrays(plain.get_tensor_details(subgraph_index=i))  # branches and loops have their own
                   for i in range(plain.num_subgraphs()))

    def run(images):
        if ready != [images.shape]:
            sized(interpreter, images.shape)
            ready[:] = [images.shape]
        interpreter.set_tensor(entry["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(exit_["index"])

    most = questions(path, "declares arrays of", needed)
    return ModelFile(path, _lite_port(entry), _lite_port(exit_), run, most)


def _lite_port(detail):
    # Old converters leave the axes that are free at 1, and say so in no signature.
    signature = detail["shape_signature"] if len(detail["shape_signature"]) else detail["shape"]
    free = len(signature) == 4 and all(side == 1 for side in signature[1:3])
    shape = tuple(None if side < 0 or free and i < 3 else int(side) for i, side in enumerate(signature))
    scale, zero = detail["quantization"]
    return Port(shape, np.dtype(detail["dtype"]), float(scale), int(zero))


def load_onnx(path: str | Path, *, output: str | None = None) -> ModelFile:
    """A suspect from an ONNX file, run by ONNX Runtime."""
    try:
        import onnx  # noqa: F401 - what looks at the file before needs it
        import onnxruntime
    except ImportError as error:
        raise ModelError(f"{path} needs ONNX Runtime: pip install onnx onnxruntime") from error
    most = check_onnx(path)
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ModelError(f"{path} cannot be read as an ONNX model: {first_line(error)}") from error
    inputs, outputs = ({port.name: port for port in ports} for ports in (session.get_inputs(), session.get_outputs()))
    entry = inputs[_only(list(inputs), f"{path} takes the inputs")]
    exit_ = outputs[chosen(list(outputs), output, path)]
    scales = _onnx_scales(path) if "int" in entry.type + exit_.type else {}

    def run(images):
        return session.run([exit_.name], {entry.name: images})[0]

    return ModelFile(path, _onnx_port(entry, path, scales), _onnx_port(exit_, path, scales), run, most)


def _onnx_scales(path):
    """{tensor: (scale, zero)} of integers that the graph turns into reals first, or makes of reals last."""
    import onnx

    graph, found = onnx.load(str(path)).graph, {}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        name = {"DequantizeLinear": node.input, "QuantizeLinear": node.output}.get(node.op_type, [None])[0]
        scale, zero = (weights.get(part) for part in (*node.input[1:3], None, None)[:2])
        if name and scale is not None and math.prod(scale.dims) == 1:
            scale, zero = (0 if part is None else onnx.numpy_helper.to_array(part).item() for part in (scale, zero))
            found[name] = scale, zero
    return found


def _onnx_port(port, path, scales):
    kind = port.type.removeprefix("tensor(").removesuffix(")")
    try:
        dtype = np.dtype(ONNX_NAMES.get(kind, kind))
    except TypeError as error:
        raise ModelError(f"{path} takes or gives {port.type}, expected numbers that numpy has") from error
    # Names, and lengths of 0 and below, are what exporters write for free axes.
    shape = tuple(side if isinstance(side, int) and side > 0 else None for side in port.shape) if port.shape else None
    return Port(shape, dtype, *scales.get(port.name, ()))


def _only(items, what, name=str):
    if len(items) != 1:
        raise ModelError(f"{what} {', '.join(map(name, items)) or 'none'}; expected one, an image")
    return items[0]
