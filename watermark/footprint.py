"""How much memory a graph takes as it runs: the arrays that may be there at once, of a question of a given size."""

from __future__ import annotations

import functools
import graphlib
import math
import operator
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from watermark.graphs import source

SIDE = 64  # pixels of a question where a model leaves its size free, and of an array where a graph does not tell
MOST = 1 << 14  # steps whose order is looked at, which takes the square of that in bits; of more, arrays are summed
KEPT = ("Placeholder", "ReadVariableOp", "VarHandleOp")  # the question, and weights, which are not copied


def memory() -> float:
    """Bytes of memory, of which no process can have more; where the system does not say, no limit."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no such call
        return math.inf


def peak(steps: Mapping[str, tuple[Iterable[str], int]]) -> int:
    """Bytes of the arrays that may be there at once.

    An array is there with a step unless it is made behind it, or all that read it are done before it. So the number
    holds in whatever order those steps run that do not wait for one another, and on however many threads. Memory grows
    as a step makes something: those that make little, such as what shapes a bias, are only added, or it would be all
    the arrays, each of which may be there with a step that waits for nothing.

    Args:
      steps: {name: (names of the steps that it reads or waits for, bytes that it makes)}.
    """
    total = sum(made for _, made in steps.values())
    little = total / (10 * max(1, len(steps)))
    sources = {name: [source for source in read if source in steps] for name, (read, _) in steps.items()}
    try:
        order = list(graphlib.TopologicalSorter(sources).static_order()) if len(steps) <= MOST else []
    except graphlib.CycleError:
        order = []
    if not order:
        return total
    place, every = {name: i for i, name in enumerate(order)}, (1 << len(order)) - 1
    before, after, readers = [0] * len(order), [0] * len(order), [[] for _ in order]  # the first two: a bit a step
    for i, name in enumerate(order):
        for read in map(place.get, sources[name]):
            before[i] |= before[read] | 1 << read
            readers[read].append(i)
    there = np.zeros(len(order))
    for i in reversed(range(len(order))):
        for reader in readers[i]:
            after[i] |= after[reader] | 1 << reader
        if (made := steps[order[i]][1]) > little:
            gone = functools.reduce(operator.and_, map(after.__getitem__, readers[i])) if readers[i] else 0
            there += float(made) * _bits(every & ~(before[i] | gone), len(order))
    large = np.array([steps[name][1] > little for name in order])
    return int(there[large].max(initial=0)) + sum(made for _, made in steps.values() if made <= little)


def _bits(number, count):
    return np.unpackbits(np.frombuffer(number.to_bytes(count // 8 + 1, "little"), np.uint8), bitorder="little")[:count]


def size(sides: Iterable[int | None] | None, item: int = 4) -> int:
    """Bytes of an array of these sides, None or 0 where they are not told."""
    return item * math.prod(side or (SIDE if i else 1) for i, side in enumerate(sides or ()))


# --- TensorFlow -------------------------------------------------------------------------------------------------------


def traced(function: Callable) -> Callable[[tuple], int]:
    """The `peak` of a concrete function that may leave its one input's shape free, as a function of that shape.

    Nothing is run and nothing is traced again: TensorFlow infers the shapes. Not those in functions that are called,
    whose arrays are taken at `SIDE` where they leave theirs free. `function` itself is not kept.
    """
    import tensorflow as tf  # weights are read where there is none, too

    graph, variables = function.graph.as_graph_def(), {id(variable.handle): variable for variable in function.variables}
    captured = {inner.name: variables.get(id(outer), outer) for outer, inner in function.graph.captures}
    captured = {name: (outer.dtype, outer.shape, id(outer) in map(id, variables.values()))
                for name, outer in captured.items()}
    shaped = function.graph.as_graph_def(add_shapes=True)
    inner = sum(peak({node.name: (map(source, node.input), _made(node)) for node in inside.node_def})
                for inside in shaped.library.function)  # loops, and whole networks of other programs
    image = function.inputs[0].name, function.inputs[0].dtype

    def needed(shape):
        with tf.Graph().as_default() as sized:
            given = {name: tf.raw_ops.VarHandleOp(dtype=dtype, shape=sides, shared_name=name) if variable
                     else tf.compat.v1.placeholder(dtype, sides) for name, (dtype, sides, variable) in captured.items()}
            given |= {image[0]: tf.compat.v1.placeholder(image[1], shape)}
            try:
                tf.import_graph_def(graph, given, name="asked")
            except ValueError as error:  # sizes that do not fit; it would say so as it runs
                raise tf.errors.InvalidArgumentError(None, None, str(error)) from error
        return inner + peak({step.name: _step(step) for step in sized.get_operations()})

    return needed


def _step(step):
    """(what it reads or waits for, bytes that it makes)."""
    made = [size(array.shape.as_list(), array.dtype.size) for array in step.outputs if array.shape.rank is not None]
    return [*(source.op.name for source in step.inputs), *(source.name for source in step.control_inputs)], (
        0 if step.type in KEPT else sum(made))


def _made(node):
    shapes = node.attr["_output_shapes"].list.shape if "_output_shapes" in node.attr else ()
    return sum(size([max(side.size, 0) for side in shape.dim]) for shape in shapes)


# --- ONNX -------------------------------------------------------------------------------------------------------------


def onnx_question(model: Any) -> tuple:
    """The shape of the image that an ONNX model takes, 1 for a free batch and `SIDE` for a free side."""
    weights = {tensor.name for tensor in model.graph.initializer}
    sides = [entry.type.tensor_type.shape.dim for entry in model.graph.input if entry.name not in weights]
    return tuple(side.dim_value if side.dim_value > 0 else SIDE if i else 1 for i, side in enumerate(sides[0]))


def onnx_graphs(graph: Any) -> list[Any]:
    """An ONNX graph and those within its steps, as branches and loops have them, however deep."""
    return [graph, *(deeper for node in graph.node for one in _inner(node) for deeper in onnx_graphs(one))]


def _inner(node):
    """The graphs right within a step of an ONNX graph."""
    return [graph for attribute in node.attribute for graph in (attribute.g, *attribute.graphs)
            if graph.node or graph.initializer or graph.sparse_initializer]


def onnx_tensors(graphs: Iterable[Any]) -> list[Any]:
    """The weights and constants of ONNX graphs, and what sparse constants are made of."""
    constants = [attribute for graph in graphs for node in graph.node for attribute in node.attribute]
    sparse = [one for attribute in constants for one in (attribute.sparse_tensor, *attribute.sparse_tensors)]
    return [*(tensor for graph in graphs for tensor in graph.initializer),
            *(tensor for attribute in constants for tensor in (attribute.t, *attribute.tensors)),
            *(tensor for one in sparse for tensor in (one.values, one.indices))]


def onnx_place(tensor: Any) -> str:
    """The file that an ONNX tensor's numbers lie in, as the model names it; "" where it holds them itself."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    return entries.get("location", "") if tensor.data_location == tensor.EXTERNAL else ""


def onnx_arrays(model: Any, shape: tuple) -> int:
    """The `peak` of an ONNX model for the shape of its image; sides that do not follow from it are taken for `SIDE`.

    What the file itself says of its arrays' sizes is not looked at.
    """
    import onnx

    sized, weights = onnx.ModelProto(), {tensor.name for tensor in model.graph.initializer}
    sized.CopyFrom(model)
    for entry in sized.graph.input:
        sides = entry.type.tensor_type.shape.dim
        if entry.name not in weights and len(sides) == len(shape):
            for side, asked in zip(sides, shape, strict=True):
                side.dim_value = asked
    for graph in onnx_graphs(sized.graph):
        del graph.value_info[:]
        for entry in graph.output:
            entry.type.tensor_type.ClearField("shape")
    told, graph = _told(sized), sized.graph
    makers = {name: str(i) for i, node in enumerate(graph.node) for name in node.output}
    return peak({str(i): ([makers[name] for name in node.input if name in makers],
                          sum(told.get(name, 0) for name in node.output) + _within(sized, node))
                 for i, node in enumerate(graph.node)})


def _told(sized):
    """{name: bytes} of the arrays that a graph makes, as far as ONNX can tell."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(sized, data_prop=True).graph
    return {value.name: _value(value.type.tensor_type) for value in [*graph.value_info, *graph.output]}


def _within(around, node):
    """Bytes of the arrays in the graphs within a step of the model `around`, all together.

    ONNX infers what it says of them from outside only: so each is looked at as if it stood behind all that is around.
    """
    import onnx

    made = 0
    for graph in _inner(node):
        both = onnx.ModelProto()
        both.CopyFrom(around)
        for field in ("node", "initializer", "input"):
            getattr(both.graph, field).extend(getattr(graph, field))
        told = _told(both)
        made += sum(told.get(name, 0) for inner in graph.node for name in inner.output)
        made += sum(_within(both, inner) for inner in graph.node)
    return made


def _value(tensor):
    import onnx

    try:
        item = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).itemsize
    except (KeyError, TypeError):  # of a value whose type is not known
        item = 4
    return size([max(side.dim_value, 0) for side in tensor.shape.dim], item)
