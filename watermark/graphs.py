"""What the graph of a SavedModel may do on the machine that runs it: compute, and read its own variables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from watermark.errors import ModelError

# Ops that no network needs for an answer: they end the process (Abort, with exit code 0 if it likes), run Python or
# other programs, or read, write or ask for what lies outside the graph. ShardedFilename and its like make a name and
# open nothing.
REFUSED = re.compile("Abort|.*PyFunc(Stateless)?|.*File(?!name|spec).*|.*Dataset.*|.*Reader.*|Rpc.*|CreateSummary.*|"
                     "Debug(Identity|N).*|DumpTensor|RecordInput|LoadAndRemapMatrix|GenerateVocabRemapping|Skipgram|"
                     "FixedUnigramCandidateSampler|CalibrationStatisticsSaver|DistributedSave|DTensorRestore.*|"
                     "(De|En)codeProto.*|ImmutableConst|XlaCustomCall.*|Copy(Host)?")
# Of ops that TensorFlow itself calls stateful, which reach beyond their arguments, these alone: variables, what calls
# parts of the graph, random numbers, tables, lists and stacks, messages, checks; what an exporter of JAX writes.
STATEFUL = re.compile("Var(HandleOp|IsInitializedOp|iable(V2|Shape)?)|TemporaryVariable|"
                      "(Read|Assign|AssignAdd|AssignSub)VariableOp|Resource(Gather|Scatter|Sparse|Apply|StridedSlice|CountUpTo).*|DestroyResourceOp|"
                      "DisableCopyOnRead|GuaranteeConst|DeepCopy|Empty|StatefulPartitionedCall|If|While|Case|"
                      "Random(Uniform|StandardNormal|Gamma|Poisson|Shuffle|Crop)(Int|V2)?|TruncatedNormal|Multinomial|"
                      "ParameterizedTruncatedNormal|Stateful.*(Uniform|Normal|Binomial).*|Rng.*|NonDeterministicInts|"
                      "StatelessRandomGetAlg|SampleDistortedBoundingBox.*|(Mutable|Anonymous)*(Dense)?HashTable.*|"
                      "LookupTable.*|InitializeTable(V2)?|TensorArray.*|Stack(Push|Pop|Close)?(V2)?|Mutex(V2|Lock)|"
                      "ConsumeMutexLock|Print(V2)?|Assert|CheckNumerics(V2)?|CudnnRNN.*|Restore(V2|Slice)?|"
                      "DeviceIndex|GlobalIterId|Timestamp|XlaCallModule")
SAVING = {"Save", "SaveSlices", "SaveV2", "MergeV2Checkpoints"}  # in every SavedModel, for whoever saves it once more
STREAMS = (b"stderr", b"log(info)", b"log(warning)", b"log(error)")  # of tf.print, which knows files and stdout too


def check_graph(path: str | Path, meta: Any) -> None:
    """Of a `MetaGraphDef`: that no op in it `reaches_out`, and that only saving the model again runs any of `SAVING`.

    Raises:
      ModelError: otherwise.
    """
    library = meta.graph_def.library.function
    for node in [*meta.graph_def.node, *(node for function in library for node in function.node_def)]:
        printed = node.attr["output_stream"].s if "output_stream" in node.attr else STREAMS[0]
        if reaches_out(node.op) or (node.op == "PrintV2" and printed not in STREAMS):
            _refuse(path, node.op)
    savers = {function.signature.name: function for function in library
              if any(node.op in SAVING for node in function.node_def)}
    swapped = any("api_implements" in saver.attr for saver in savers.values())  # put in another's place as it runs
    inner = any(_calls(node, savers) for function in library for node in function.node_def)
    if swapped or inner or _mentions(meta, savers):
        _refuse(path, "SaveV2 where it answers or loads")


def reaches_out(op: str) -> bool:
    """Whether an op, by its name, may do what no network needs for an answer; False for one that TensorFlow lacks."""
    from tensorflow.python.framework import op_def_registry  # there is no public one

    known = op_def_registry.get(op)
    return bool(REFUSED.fullmatch(op)) or (known is not None and known.is_stateful and op not in SAVING
                                           and not STATEFUL.fullmatch(op))


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
    readers: dict[str, list[str]] = {}
    for node in nodes:
        for entry in node.input:
            readers.setdefault(source(entry), []).append(node.name)
    ahead = [node.name for node in nodes if node.op in SAVING or _calls(node, savers)]
    found = set(ahead)
    while ahead:
        more = [name for name in readers.get(ahead.pop(), ()) if name not in found]
        found.update(more)
        ahead += more
    return found


def source(entry: str) -> str:
    """The node that an input "^name", "name:0" or "name:output:0" comes from."""
    return entry.removeprefix("^").partition(":")[0]
