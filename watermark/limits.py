"""What model files declare, summed before any of it is allocated: a small file may ask for all the memory there is.

Each check raises a `ModelError` in one line. What a file cannot back with content is refused; large models are not.
"""

from __future__ import annotations

import contextlib
import functools
import math
import subprocess
import sys
import tempfile
import threading
import weakref
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import h5py
import keras

from watermark import footprint
from watermark.errors import ModelError, raised_as
from watermark.files import content, on_disk
from watermark.footprint import SIDE
from watermark.graphs import check_graph

LARGEST = 4 << 30  # bytes that a model file may unpack to; VDSR has 3 MB, the largest restoration transformers 1 GB
CONFIGURATION = 16 << 20  # bytes; a network of a thousand layers has one
RATIO = 100  # of unpacked to packed: pruned weights pack well, but not like blanks
SLACK = 16 << 20  # bytes that a file may declare beyond its content, in any case
GRAPH = 1 << 30  # bytes of a SavedModel's graph or an ONNX file
LARGEST_IMAGE = 1 << 30  # bytes of the arrays that a question of `SIDE` leads to; 64 channels, enlarged 8 times: 64 MiB
BACKED = 32  # bytes of such arrays for each of the file; transformers, which are large, keep many
GRAPHS = 32  # of an ONNX file, each of which is looked at with all that is around it
SMALL = 1 << 16  # bytes of a constant that may say a size
ASKED = weakref.WeakKeyDictionary()  # {traced function of a file's model: its `questions`}
BUILDING = threading.Lock()
WEIGHTS = "model.weights.h5"  # in a `.keras` file
PATIENCE = 30.0  # seconds for the structure of an HDF5 file
PROBE = """
import h5py, sys
with h5py.File(sys.argv[1]) as file:
    dict(file.attrs)
    file.visititems(lambda _, item: print(dict(item.attrs)))
"""


def _refuse(path, what, declared, most):
    if declared > most:
        raise ModelError(f"{path} {what} {declared >> 20} MiB, more than {most >> 20}; refused")


def check_archive(path: str | Path) -> int:
    """Of a `.keras` file: what it would unpack to, its configuration, and the weights' file, whose bytes it returns."""
    with zipfile.ZipFile(path) as archive:
        infos = {info.filename: info for info in archive.infolist()}
        unpacked = sum(info.file_size for info in archive.infolist())
        packed = on_disk(path)
        _refuse(path, "would unpack to", unpacked, min(LARGEST, RATIO * packed + SLACK))
        for name in ("config.json", "metadata.json"):
            _refuse(path, "has a configuration of", infos[name].file_size if name in infos else 0, CONFIGURATION)
        size = infos[WEIGHTS].file_size
        with tempfile.TemporaryDirectory() as folder:  # within the archive, HDF5's way back and forth is a long one
            file = Path(archive.extract(WEIGHTS, folder))
            check_hdf5(path, file)
            with h5py.File(file) as stored:
                check_weights(path, stored, size)
    return size


def check_hdf5(path: str | Path, file: str | Path | None = None) -> None:
    """Of an HDF5 file, or of another that was within it: that its structure can be read.

    By a process that may hang or die of it: a damaged one can keep the library, which is C, in a loop that nothing
    interrupts.
    """
    try:
        end = subprocess.run([sys.executable, "-I", "-c", PROBE, str(file or path)], timeout=PATIENCE, check=False,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"{path} is damaged: reading it does not end within {PATIENCE:g} seconds") from error
    if end < 0:  # by a signal; what Python says of it is said better where it is read
        raise ModelError(f"{path} is damaged: reading it takes the process along (signal {-end})")


def check_weights(path: str | Path, stored: h5py.File, size: int) -> None:
    """Of an open HDF5 file of `size` bytes: the arrays that it declares, what lies beside them, that all is in it."""
    declared = kept = 0

    def add(_, item):
        nonlocal declared, kept
        if isinstance(item, h5py.Group) and not all(
                isinstance(item.get(name, getlink=True), h5py.HardLink) for name in item):
            raise ModelError(f"{path} has links in it, which may lead to other files; refused")
        if isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise ModelError(f"{path} has arrays that lie in other files; refused")
            declared += math.prod(item.shape or ()) * item.dtype.itemsize
            kept += item.id.get_storage_size()

    add("/", stored)
    stored.visititems(add)
    _refuse(path, "declares arrays of", declared, min(LARGEST, 10 * size + SLACK))
    _refuse(path, "holds beside its arrays", size - kept, CONFIGURATION + SLACK)


@contextlib.contextmanager
def weights_within(path: str | Path, limit: int) -> Iterator[None]:
    """Within, Keras layers may make weights of `limit` bytes in all; the layer that would exceed it is refused."""
    made, real = 0, keras.layers.Layer.add_weight

    def add_weight(layer, shape=None, *args, **kwargs):
        nonlocal made
        made += 4 * math.prod(shape or ())
        _refuse(path, "holds less than the weights that its layers declare,", made, limit)
        return real(layer, shape, *args, **kwargs)

    with BUILDING:  # there is one method for all threads, and no other place where Keras says a size beforehand
        keras.layers.Layer.add_weight = add_weight
        try:
            yield
        finally:
            keras.layers.Layer.add_weight = real


def questions(path: str | Path, what: str, needed: Callable[[tuple], int]) -> Callable[[tuple], int]:
    """How many questions are put at once to what came from a file, as a function of the shape of the smallest query.

    Together they lead to arrays of `LARGEST_IMAGE`; one alone may have more, if it is large, or the file is.

    Args:
      path: of the file.
      what: it does, for a refusal.
      needed: shape -> bytes of the arrays that a query leads to.

    Returns:
      A function shape -> int, which raises a ModelError where one query is too much.
    """
    @functools.lru_cache(maxsize=64)
    def at_once(shape):
        pixels = math.prod(shape) // (3 if 3 in (shape[-1], shape[-3:][0]) else 1)
        room = min(LARGEST_IMAGE * max(1, pixels // SIDE**2), LARGEST) + BACKED * on_disk(path)
        _refuse(path, what, declared := needed(shape), room)
        return max(1, LARGEST_IMAGE // max(1, declared))

    return at_once


def check_answers(path: str | Path, model: keras.Model, forward: Callable) -> None:
    """Of a Keras model: the images on its way, for a question of `SIDE` pixels or the size that it takes.

    Later questions to `forward`, its traced function, are bounded likewise (`at_once`).
    """
    import tensorflow as tf  # weights are read where there is none, too

    reference = weakref.ref(forward)

    def each(shape):
        return footprint.traced(reference().at(*shape[1:3]))(shape)

    needed = each if hasattr(forward, "at") else footprint.traced(forward)  # where it is traced for each size
    ASKED[forward] = questions(path, "would make images of", needed)
    with contextlib.suppress(tf.errors.InvalidArgumentError):  # another size is wanted; it is looked at when asked for
        at_once(forward, [side or getattr(forward, "tried", SIDE) for side in model.input_shape[1:3]],
                model.input_shape)


def at_once(forward: Callable, sides: Sequence[int], shape: tuple) -> int | None:
    """How many images of these sides a traced function of a file's takes at once; None for any other function.

    Raises:
      ModelError: one is too many.
    """
    return forward in ASKED and ASKED[forward]((shape[0] or 1, *sides, shape[3])) or None


# --- other runtimes' files --------------------------------------------------------------------------------------------


def check_saved_model(path: str | Path) -> None:
    """Of a SavedModel folder: plain files, variables that its file holds, constants spelt out, harmless ops."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
    from tensorflow.train import load_checkpoint

    path = Path(path)
    for file in path.rglob("*"):
        if not (file.is_file() or file.is_dir() and not file.is_symlink()):
            raise ModelError(f"{file} is no plain file; refused")
    with raised_as(ModelError, f"{path} cannot be read as a SavedModel"):
        text = content(path / "saved_model.pb", GRAPH)
        size = on_disk(path)
        if (path / "variables" / "variables.index").exists():
            declared = load_checkpoint(str(path / "variables" / "variables")).get_variable_to_shape_map()
            _refuse(path, "declares variables of", sum(8 * math.prod(shape) for shape in declared.values()),
                    4 * size + SLACK)
        for graph in SavedModel.FromString(text).meta_graphs:
            check_graph(path, graph)
            nodes = [*graph.graph_def.node, *(n for f in graph.graph_def.library.function for n in f.node_def)]
            constants = [node.attr["value"].tensor.tensor_shape.dim for node in nodes if node.op == "Const"]
            _refuse(path, "declares constants of", sum(8 * math.prod(d.size for d in dims) for dims in constants),
                    4 * size + SLACK)


def check_onnx(path: str | Path) -> Callable[[tuple], int]:
    """Of an ONNX file: that it holds its own weights, and the images that its graph makes of a question.

    Returns:
      What bounds later questions, see `questions`.
    """
    import onnx

    path = Path(path)
    with raised_as(ModelError, f"{path} cannot be read as an ONNX model"):
        model = onnx.ModelProto.FromString(content(path, GRAPH))
        if model.functions:
            raise ModelError(f"{path} has functions of its own, whose arrays cannot be told before it runs; write it "
                             "without them: onnx.save(onnx.inliner.inline_local_functions(model), …)")
        graphs = footprint.onnx_graphs(model.graph)
        if any(graph.sparse_initializer for graph in graphs):
            raise ModelError(f"{path} has sparse weights, which may be of any size once read; write them as others are")
        if len(graphs) > GRAPHS:
            raise ModelError(f"{path} has {len(graphs) - 1} branches and loops, more than {GRAPHS - 1}; refused")
        _check_beside(path, graphs)
        for tensor in footprint.onnx_tensors(graphs):
            if tensor.ByteSize() > SMALL:  # no shape follows from it, and it need not be kept
                for field in ("raw_data", "float_data", "double_data", "int32_data", "int64_data", "uint64_data",
                              "string_data"):
                    tensor.ClearField(field)
        at_once = questions(path, "would make arrays of", lambda shape: footprint.onnx_arrays(model, shape))
        at_once(footprint.onnx_question(model))
    return at_once


def _check_beside(path, graphs):
    """Of an ONNX file's weights that lie in files beside it: that these hold them."""
    import onnx

    declared = {}
    for tensor in footprint.onnx_tensors(graphs):
        if where := footprint.onnx_place(tensor):
            if Path(where).name != where or not (path.parent / where).is_file():
                raise ModelError(f"{path} keeps weights in {where!r}, which is no file beside it")
            item = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
            declared[where] = declared.get(where, 0) + item * math.prod(tensor.dims)
    for where, size in declared.items():
        _refuse(path, f"declares arrays in {where!r} of", size, 4 * on_disk(path.parent / where) + SLACK)


def onnx_files(path: str | Path) -> list[str]:
    """Names of the files in whose folder an ONNX model lies: its own, and those that hold weights of it."""
    import onnx

    model = onnx.ModelProto.FromString(content(path, GRAPH))
    beside = map(footprint.onnx_place, footprint.onnx_tensors(footprint.onnx_graphs(model.graph)))
    return [Path(path).name, *sorted({where for where in beside if where})]


def tflite_arrays(details: list[dict]) -> int:
    """Bytes of the arrays that a TFLite interpreter would keep for a question, by its `get_tensor_details()`."""
    return sum(4 * math.prod(int(side) for side in detail["shape"]) for detail in details)
