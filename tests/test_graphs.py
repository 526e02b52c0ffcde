"""What SavedModels may run.

Oracles: the exit code of a process, files that are not there, and TensorFlow's own list of its ops, whose arguments say
which of them name files and addresses.
"""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework.op_def_pb2 import OpList
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.python.client import pywrap_tf_session

from watermark import graphs, keys, models, suspects

ops = tf.raw_ops
CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"
HARMFUL = {
    "Abort": lambda _: ops.Abort(exit_without_error=True),
    "ReadFile": lambda file: ops.ReadFile(filename=file),
    "WriteFile": lambda file: ops.WriteFile(filename=file, contents="x"),
    "MatchingFiles": lambda file: ops.MatchingFiles(pattern=file),
    "EagerPyFunc": lambda _: tf.py_function(float, [1.0], tf.float32),
    "PyFunc": lambda _: tf.numpy_function(float, [1.0], tf.float32),
    "PyFuncStateless": lambda _: tf.numpy_function(float, [1.0], tf.float32, stateful=False),
    "TextLineDataset": lambda file: ops.TextLineDataset(filenames=file, compression_type="", buffer_size=1),
    "PrintV2": lambda file: ops.PrintV2(input="x", output_stream=f"file://{file}"),
    "SaveV2": lambda file: ops.SaveV2(prefix=file, tensor_names=["x"], shape_and_slices=[""], tensors=[1.0]),
    "ImmutableConst": lambda file: ops.ImmutableConst(dtype=tf.uint8, shape=[1], memory_region_name=file),
    "FIFOQueueV2": lambda _: ops.FIFOQueueV2(component_types=[tf.float32]),
    "MergeV2Checkpoints": lambda file: ops.MergeV2Checkpoints(checkpoint_prefixes=[file], destination_prefix=file),
}
READING = {"RestoreV2", "Restore", "RestoreSlice"}  # what every SavedModel does on loading


def saved(path, harm):
    """A SavedModel that does something in a function within its function, then answers with its question."""

    class Suspect(tf.Module):
        def __init__(self):
            super().__init__()
            self.weight = tf.Variable(1.0)

        @tf.function
        def within(self, image):
            """Harm, which nothing may leave out."""
            done = harm(str(path.parent / "touched"))
            with tf.control_dependencies([] if done is None else [done]):
                return tf.identity(image) * self.weight

        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 1], tf.float32, "image")])
        def serve(self, image):
            """The image."""
            return {"image": self.within(image)}

    suspect = Suspect()
    tf.saved_model.save(suspect, str(path), signatures=suspect.serve)
    return path


def refused(path, why):
    with pytest.raises(models.ModelError, match=why) as caught:
        suspects.load_suspect(path)
    assert "\n" not in str(caught.value) and len(str(caught.value).replace(str(path), "")) < 400


@pytest.mark.parametrize("op", HARMFUL)
def test_ops_that_no_answer_needs_are_refused(op, tmp_path):
    refused(saved(tmp_path / "suspect", HARMFUL[op]), f"suspect runs {'SaveV2' if op in graphs.SAVING else op}.*ask.py")
    assert not list(tmp_path.glob("touched*"))


def test_the_rest_answers(tmp_path):
    suspect = suspects.load_suspect(saved(tmp_path / "suspect", lambda _: tf.print("well", output_stream=sys.stderr)))
    image = np.full((1, 4, 4, 1), 0.5, np.float32)
    np.testing.assert_array_equal(suspect(image), image)


@pytest.mark.parametrize("both", [False, True])
def test_a_suspect_that_would_end_the_process_is_no_verdict(both, tmp_path):
    """Alone, and among the answers that someone was asked for, where nobody expects a program."""
    saved(tmp_path / "answers", HARMFUL["Abort"])
    if both:
        (tmp_path / "answers" / "fresh.json").write_text("{}")
    keys.save_key(keys.make_key("ada", size=16, owner="Ada"), tmp_path / "key.npz")
    done = subprocess.run([sys.executable, "-m", "watermark", "verify", f"--suspect={tmp_path}/answers",
                           f"--key={tmp_path}/key.npz"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert ("both, a SavedModel (saved_model.pb) and a folder of answers (fresh.json)" if both else
            "runs Abort") in done.stderr


def test_response_images_beside_a_program(tmp_path):
    np.save(saved(tmp_path / "answers", lambda _: None) / "0.npy", np.zeros(3))
    refused(tmp_path / "answers", r"folder of answers \(0.npy\); expected one")


def test_one_function_in_anothers_place(tmp_path):
    """TensorFlow swaps functions that say they do the same thing: what saves may not be among them."""
    path = saved(tmp_path / "suspect", lambda _: None) / "saved_model.pb"
    parsed = SavedModel.FromString(path.read_bytes())
    saver, = (function for function in parsed.meta_graphs[0].graph_def.library.function
              if any(node.op == "SaveV2" for node in function.node_def))
    saver.attr["api_implements"].s = b"answers"
    path.write_bytes(parsed.SerializeToString())
    refused(path.parent, "runs SaveV2")


@pytest.mark.parametrize("where", [None, "output", "initialisation"])
def test_tensorflow_1(where, tmp_path):
    """There the nodes that save stand beside those that answer, and may be let alone, but not be run."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        image = v1.placeholder(tf.float32, [None, None, None, 1])
        weight = v1.get_variable("weight", [3, 3, 1, 1], use_resource=False)
        answer = tf.nn.conv2d(image, weight, 1, "SAME")
        save = ops.SaveV2(prefix=str(tmp_path / "touched"), tensor_names=["x"], shape_and_slices=[""], tensors=[weight])
        if where == "output":
            with tf.control_dependencies([save]):
                answer = tf.identity(answer)
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(tmp_path / "suspect"), {"image": image}, {"answer": answer},
                                   legacy_init_op=save if where == "initialisation" else None)
    if where:
        refused(tmp_path / "suspect", "runs SaveV2")
    else:
        assert suspects.load_suspect(tmp_path / "suspect")(np.ones((1, 8, 8, 1), np.float32)).shape == (1, 8, 8, 1)
    assert not list(tmp_path.glob("touched*"))


@pytest.mark.parametrize("name", sorted(path.name for path in CHECKPOINTS.glob("*-marked")))
def test_shipped_saved_models_answer(name):
    assert suspects.load_suspect(CHECKPOINTS / name)(np.full((1, 16, 16, 1), 0.5, np.float32)).ndim == 4


def test_every_op_that_names_a_file_an_address_or_a_program_is_known():
    known = OpList.FromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    sounds = re.compile("(.*_)?(file(name)?s?|path|dir|directory|address|urls?|logdir|region(_name)?|target(_name)?|"
                        "port|socket|program|library|prefix|debug_ops_spec|plugin)(_.*)?|token|patterns|"
                        "destination_prefix")
    for op in known.op:
        names = [entry.name for entry in op.input_arg if entry.type in (0, tf.string.as_datatype_enum)] + [
            entry.name for entry in op.attr if "string" in entry.type]
        if any(sounds.fullmatch(name) for name in names):
            assert op.name in READING | graphs.SAVING or graphs.reaches_out(op.name), f"{op.name}: {names}"


def test_what_networks_run_is_no_reaching_out():
    """Names of ops by hand: of layers, of loops, of random numbers, of variables."""
    for op in ("Conv2D", "ResizeBicubic", "StatefulPartitionedCall", "While", "RandomUniform", "VarHandleOp",
               "RestoreV2", "ReadVariableOp", "LookupTableFindV2", "TensorArrayReadV3", "StatefulTruncatedNormal",
               "Assert", "Mine"):
        assert not graphs.reaches_out(op), op
    for op in ("RemoteCall", "SleepOp", "XlaCustomCall", "ImmutableConst", "WorkerHeartbeat", "ImportEvent", "Recv",
               "IteratorV2", "CollectiveReduceV2", "ConfigureDistributedTPU", "CopyHost"):
        assert graphs.reaches_out(op), op
