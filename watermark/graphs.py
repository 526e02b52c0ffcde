"""What the graph of a SavedModel may do on the machine that runs it: compute, and read its own variables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from watermark.errors import ModelError

# Ops that no network needs for an answer: they end the process (Abort, with exit code 0 if it likes), run Python, or
# read, write or ask for what lies outside the graph. ShardedFilename and its like make a name and open nothing.
REFUSED = re.compile("Abort|.*PyFunc(Stateless)?|.*File(?!name|spec).*|.*Dataset.*|.*Reader.*|Rpc.*|CreateSummary.*|"
                     "Debug(Identity|N).*|DumpTensor|RecordInput|LoadAndRemapMatrix|GenerateVocabRemapping|Skipgram|"
                     "FixedUnigramCandidateSampler|CalibrationStatisticsSaver|DistributedSave|DTensorRestore.*|"
                     "(De|En)codeProto.*")
SAVING = {"Save", "SaveSlices", "SaveV2", "MergeV2Checkpoints"}  # in every SavedModel, for whoever saves it once more
STREAMS = (b"stderr", b"log(info)", b"log(warning)", b"log(error)")  # of tf.print, which knows files and stdout too


def check_graph(path: str | Path, meta: Any) -> None:
    """Of a `MetaGraphDef`: that it holds no op of `REFUSED`, and that only saving the model again runs any of `SAVING`.

    Raises:
      ModelError: otherwise.
    """
    library = meta.graph_def.library.function
    for node in [*meta.graph_def.node, *(node for function in library for node in function.node_def)]:
        if REFUSED.fullmatch(node.op) or (node.op == "PrintV2" and "output_stream" in node.attr
                                          and node.attr["output_stream"].s not in STREAMS):
            _refuse(path, node.op)
    savers = {function.signature.name: function for function in library
              if any(node.op in SAVING for node in function.node_def)}
    swapped = any("api_implements" in saver.attr for saver in savers.values())  # put in another's place as it runs
    inner = any(_calls(node, savers) for function in library for node in function.node_def)
    if swapped or inner or _mentions(meta, savers):
        _refuse(path, "SaveV2 where it answers or loads")


def _refuse(path, what):
    raise ModelError(f"{path} runs {what:.60}, expected a graph that computes and no more: this may touch files, call "
                     "programs or end this one; save the model again without it, or, if you trust it as you trust a "
                     "program, load it in a function of yours, --suspect=ask.py:function")


def _calls(node, functions):
    """Whether a node may call one of `functions`: as its op, or by an attribute."""
    values = [f.name for value in node.attr.values() for f in (value.func, *value.list.func)]
    return any(name in functions for name in (node.op, *values))


def _mentions(meta, savers):
    """Whether what says which parts of the graph are run, on loading and for an answer, names what saves.

    The text is searched, for names of nodes lie in messages within messages. With an object graph functions are run by
    their name and nodes outside of them never; without one, of TensorFlow 1, nodes are.
    """
    if meta.HasField("object_graph_def"):
        text, names = meta.object_graph_def.SerializeToString(), savers
    else:
        rest = type(meta)()
        rest.CopyFrom(meta)
        rest.ClearField("graph_def")
        rest.ClearField("meta_info_def")  # with a list of all ops
        rest.saver_def.ClearField("save_tensor_name")
        rest.collection_def.pop("savers", None)  # copies of it
        text, names = rest.SerializeToString(), _behind(meta.graph_def.node, savers)
    return any(name.encode() in text for name in names)


def _behind(nodes, savers):
    """Names of the nodes that save, and of those that wait for one that does."""
    found, grown = {node.name for node in nodes if node.op in SAVING or _calls(node, savers)}, True
    while grown:
        more = {node.name for node in nodes if any(_source(entry) in found for entry in node.input)} - found
        found, grown = found | more, bool(more)
    return found


def _source(entry):
    """The node that an input "^name" or "name:0" comes from."""
    return entry.removeprefix("^").partition(":")[0]
