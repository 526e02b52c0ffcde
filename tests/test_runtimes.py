"""Model files as other people make them: other types, ranges, orders of axes, sizes. The mark is found all the same."""

import gc
import weakref

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper
from scipy import stats

from watermark import blackbox, evidence, exporting, inference, keys, models, suspects, verification
from watermark.fitting import BYTES, CENTRED, SIGNED, TURNS, UNIT, Pixels, moved, moves, multiples, padded
from watermark.ports import Port

ONNX_TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "float64": TensorProto.DOUBLE,
              "uint8": TensorProto.UINT8}


def asked(spec, owned, **how):
    """(the suspect as the key asks it, the verdict)."""
    suspect = blackbox.as_suspect(suspects.load_suspect(spec), owned.key.kind, **how)
    return suspect, verification.verify(suspect, owned.key, null_keys=100)


def saved(path, owned, function, shape, dtype):
    """A SavedModel of a function of images around the marked network, as someone else's program would write it."""
    module = tf.Module()
    module.weights = [variable.value for variable in owned.marked.variables] if owned else []
    module.call = tf.function(function, input_signature=[tf.TensorSpec(shape, dtype, "image")])
    tf.saved_model.save(module, str(path), signatures=module.call)
    return path


def nchw(path, owned, shape, dtype="float32", answer=None):
    """The marked network as PyTorch exports it, made by hand from its kernels."""
    nodes, weights, last = [], [], "image"
    convolutions = [layer for layer in owned.marked.layers if isinstance(layer, keras.layers.Conv2D)]
    inner = "float16" if dtype == "float16" else "float32"  # ONNX Runtime has no convolution of doubles
    if dtype in ("uint8", "float64"):
        weights.append(numpy_helper.from_array(np.float32(255.0 if dtype == "uint8" else 1.0), "white"))
        nodes += [helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
                  helper.make_node("Div", ["floats", "white"], ["unit"])]
        last = "unit"
    first = last
    for i, layer in enumerate(convolutions):
        kernel, bias = (np.asarray(w, inner) for w in layer.get_weights())
        weights += [numpy_helper.from_array(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)), f"w{i}"),
                    numpy_helper.from_array(bias, f"b{i}")]
        nodes.append(helper.make_node("Conv", [last, f"w{i}", f"b{i}"], [f"c{i}"], pads=[1, 1, 1, 1]))
        last = f"c{i}"
        if i + 1 < len(convolutions):
            nodes.append(helper.make_node("Relu", [last], [f"r{i}"]))
            last = f"r{i}"
    nodes.append(helper.make_node("Sub", [first, last], ["clean"]))
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("image", ONNX_TYPES[dtype], shape)],
                              [helper.make_tensor_value_info("clean", ONNX_TYPES[inner], answer or shape)], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


# --- order of axes, batch, types --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [
    ["n", 1, "h", "w"], [1, 1, 16, 16], ["n", "c", "h", "w"], [2, 1, "h", "w"], [3, 1, 16, 16]], ids=str)
def test_onnx_as_pytorch_exports_it(shape, owned, tmp_path):
    """Oracle: the Keras model that its kernels are from."""
    suspect, verdict = asked(nchw(tmp_path / "m.onnx", owned, shape), owned)
    images = np.random.default_rng(0).random((5, 16, 16, 1), np.float32)
    np.testing.assert_allclose(suspect(images), inference.predictor(owned.marked)(images), atol=1e-4)
    assert verdict.evident and verdict.within_threshold
    assert any("NCHW" in line for line in suspect.notes)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 2e-2), ("float64", 1e-4), ("uint8", 3e-2)])
def test_onnx_types_as_the_file_has_them(dtype, tolerance, owned, tmp_path):
    suspect, verdict = asked(nchw(tmp_path / "m.onnx", owned, [1, 1, 16, 16], dtype), owned)
    own = inference.predictor(owned.marked)(owned.key.trigger[None])
    assert float(np.sqrt(np.mean((suspect(owned.key.trigger[None]) - own) ** 2))) < tolerance
    assert verdict.evident and verdict.within_threshold
    assert any("uint8" in line for line in suspect.notes) == (dtype == "uint8")


def test_what_an_onnx_file_refuses_comes_with_its_numbers(owned, tmp_path):
    path = nchw(tmp_path / "m.onnx", owned, [1, 1, 8, 8])
    with pytest.raises(suspects.SuspectError, match=r"takes float32 \[1, 1, 8, 8\].*16.*8") as caught:
        asked(path, owned)
    assert "\n" not in str(caught.value)
    with pytest.raises(suspects.SuspectError, match=r"\[1, 1, 8, 8\], no images of 3 channel"):
        blackbox.as_suspect(suspects.load_suspect(path), keys.make_key(0, size=8, channels=3).kind)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_key_of_other_channels_is_refused_in_the_projects_words(channels, tmp_path):
    """A last axis of 1 or 3 is that of channels; with sides that are free it could be a width as well."""
    path = saved(tmp_path / "m", None, lambda images: images, [None, None, None, 4 - channels], tf.float32)
    kind = keys.make_key(0, size=12, channels=channels).kind
    with pytest.raises(suspects.SuspectError, match=f"no images of {channels} channel"):
        blackbox.as_suspect(suspects.load_suspect(path), kind)


@pytest.mark.parametrize("shape", [[None, None, None], [1, None, None], [None, None], [1, 1, None, None]], ids=str)
def test_saved_models_without_an_axis_or_channels_first(shape, owned, tmp_path):
    """Grey models often have no axis of channels, or none of images."""
    def call(image):
        rank = len(shape)
        x = image[None] if rank == 2 else image
        y = owned.marked(tf.transpose(x, [0, 2, 3, 1]) if rank == 4 else x[..., None], training=False)
        y = tf.transpose(y, [0, 3, 1, 2]) if rank == 4 else y[..., 0]
        return y[0] if rank == 2 else y

    suspect, verdict = asked(saved(tmp_path / "m", owned, call, shape, tf.float32), owned)
    assert verdict.evident and verdict.within_threshold and "axes" in suspect.notes[0]


# --- integers and ranges ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "int8", "uint16"])
@pytest.mark.parametrize("answer", ["same", "bytes as floats", "floats"])
def test_saved_models_of_integers(dtype, answer, owned, tmp_path):
    """Oracle: the marked network itself within what rounding to 1/255 does, its answer cut where integers cut it."""
    kind, zero = tf.as_dtype(dtype), 128 if dtype == "int8" else 0

    def call(image):
        y = owned.marked((tf.cast(image, tf.float32) + zero) / 255.0, training=False)
        if answer == "floats":
            return y
        y = y * 255.0 - zero
        return tf.cast(tf.round(tf.clip_by_value(y, kind.min, kind.max)), kind) if answer == "same" else y

    suspect, verdict = asked(saved(tmp_path / "m", owned, call, [None, None, None, 1], kind), owned)
    own = inference.predictor(owned.marked)(owned.key.trigger[None])
    if answer == "same" and dtype in ("uint8", "int8", "uint16"):
        own = own.clip(0.0, 257.0 if dtype == "uint16" else 1.0)
    assert float(np.sqrt(np.mean((suspect(owned.key.trigger[None]) - own) ** 2))) < 0.02
    assert verdict.evident
    assert len(suspect.notes) == 1 and dtype in suspect.notes[0]


@pytest.mark.parametrize("dtype", ["uint8", "int16"])
def test_keras_models_of_integers(dtype, owned):
    """Keras casts what it is fed: all of [0, 1] would be zeros."""
    inputs = keras.Input((None, None, 1), dtype=dtype)
    x = keras.ops.cast(inputs, "float32") / 255.0
    suspect = blackbox.as_suspect(keras.Model(inputs, owned.marked(x)), owned.key.kind)
    verdict = verification.verify(suspect, owned.key, null_keys=100)
    assert verdict.evident and verdict.within_threshold and dtype in suspect.notes[0]


@pytest.mark.parametrize(("scale", "zero", "pixels"), [(1 / 255, 0, None), (1 / 127.5, 128, "[-1, 1]"),
                                                       (1.0, 0, "[0, 255]")])
def test_onnx_quantised_with_a_scale(scale, zero, pixels, owned, tmp_path):
    """Bytes that the first node turns into reals and the last one makes of them, with nothing between: K comes back."""
    weights = [numpy_helper.from_array(np.float32(scale), "s"), numpy_helper.from_array(np.uint8(zero), "z")]
    nodes = [helper.make_node("DequantizeLinear", ["image", "s", "z"], ["x"]),
             helper.make_node("QuantizeLinear", ["x", "s", "z"], ["same"])]
    ports = [helper.make_tensor_value_info(name, TensorProto.UINT8, ["n", 1, "h", "w"]) for name in ("image", "same")]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    suspect = blackbox.as_suspect(suspects.load_suspect(tmp_path / "m.onnx"), owned.key.kind)
    np.testing.assert_allclose(suspect(owned.key.trigger[None])[0], owned.key.trigger, atol=0.6 / 255)
    said = [line for line in suspect.notes if "uint8" in line]
    assert not said if pixels is None else pixels in said[0]


def test_signatures_of_strings_are_said(tmp_path):
    path = saved(tmp_path / "m", None, lambda x: tf.io.decode_png(x[0]), [None], tf.string)
    with pytest.raises(models.ModelError, match="strings.*--signature"):
        suspects.load_suspect(path)


def test_float_models_that_answer_bytes(owned, tmp_path):
    def call(image):
        return tf.cast(tf.round(tf.clip_by_value(255.0 * owned.marked(image, training=False), 0, 255)), tf.uint8)

    suspect, verdict = asked(saved(tmp_path / "m", owned, call, [None, None, None, 1], tf.float32), owned)
    assert verdict.evident and "read on [0, 255]" in suspect.notes[0]
    assert suspect(owned.key.trigger[None]).max() <= 1.0


@pytest.mark.parametrize("function", [lambda x: 255.0 * x, lambda x: 2.0 * x - 1.0], ids=["x 255", "signed"])
def test_answers_alone_on_another_range_are_recognised(function, owned, tmp_path):
    path = saved(tmp_path / "m", owned, lambda x: function(owned.marked(x, training=False)), [None, None, None, 1],
                 tf.float32)
    _, verdict = asked(path, owned)
    assert verdict.evident and verdict.rho > 0.3


@pytest.mark.parametrize("pixels", [BYTES, SIGNED, Pixels(0.0, 65535.0)], ids=str)
@pytest.mark.parametrize("form", ["keras", "saved_model", "callable", "uint16"])
def test_a_range_that_is_named(pixels, form, owned, tmp_path):
    """The same network within a scaling, asked on its own range: the same answers; on [0, 1]: not found."""
    low, width = pixels.low, pixels.high - pixels.low

    def call(image):
        return owned.marked((tf.cast(image, tf.float32) - low) / width, training=False) * width + low

    kind, shape = tf.uint16 if form == "uint16" else tf.float32, [None, None, None, 1]
    if form == "keras":
        inputs = keras.Input(shape[1:])
        x = owned.marked(keras.layers.Rescaling(1 / width, -low / width)(inputs))
        suspect = keras.Model(inputs, keras.layers.Rescaling(width, low)(x))
    elif form == "callable":
        suspect = lambda images: call(images).numpy()  # noqa: E731
    else:
        if form == "uint16" and low < 0:
            pytest.skip("no negative numbers in uint16")
        suspect = suspects.load_suspect(saved(tmp_path / "m", owned, call, shape, kind))
    there = blackbox.as_suspect(suspect, owned.key.kind, pixels=pixels)
    np.testing.assert_allclose(there(owned.key.trigger[None]), inference.predictor(owned.marked)(
        owned.key.trigger[None]), atol=0.1 if form == "uint16" else 2e-3)
    assert str(pixels) in there.notes[0]
    assert verification.verify(there, owned.key, null_keys=100).evident
    if form != "uint16":
        assert not verification.verify(suspect, owned.key, null_keys=100).within_threshold


def test_ranges_are_read_from_a_line():
    assert Pixels.parse("-1,1") == SIGNED and Pixels.parse("0,255") == BYTES
    for text in ("255", "1,0", "a,b", "0,inf", "0,1,2", ""):
        with pytest.raises(ValueError, match="--range="):
            Pixels.parse(text)


@pytest.mark.parametrize(("dtype", "scale", "zero", "pixels"), [
    ("uint8", 0.0, 0, BYTES), ("int16", 0.0, 0, BYTES), ("int8", 0.0, 0, CENTRED), ("float32", 0.0, 0, UNIT),
    ("uint8", 1 / 255, 0, UNIT), ("int8", 1 / 255, -128, UNIT), ("int8", 1.6 / 255, -80, UNIT),
    ("uint8", 1.0, 0, BYTES), ("int8", 1.0, -128, BYTES), ("int8", 1.0, 0, CENTRED), ("uint8", 1 / 127.5, 128, SIGNED),
    ("int16", 1 / 32768, 0, SIGNED)])
def test_the_range_of_integers(dtype, scale, zero, pixels):
    """By hand: the numbers that the least and the greatest integer stand for."""
    assert Port(None, np.dtype(dtype), scale, zero).pixels == pixels


# --- TFLite -----------------------------------------------------------------------------------------------------------


def lite(path, function, shape, dtype=tf.float32, **options):
    """A TFLite file of a function of images."""
    module = tf.Module()
    module.call = tf.function(function, input_signature=[tf.TensorSpec(shape, dtype, "image")])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.call.get_concrete_function()], module)
    for name, value in options.items():
        setattr(converter, name, value)
    path.write_bytes(converter.convert())
    return path


def calibration():
    for i in range(8):
        yield [np.random.default_rng(i).random((1, 16, 16, 1), np.float32)]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("kind", "scale"), [(tf.uint8, 1.0), (tf.int8, 1.0), (tf.uint8, 255.0)], ids=str)
def test_tflite_quantised_throughout(kind, scale, owned, tmp_path):
    """Integers in and out with their scales, of a model on [0, 1] and of one on [0, 255]."""
    def images():
        for (image,) in calibration():
            yield [image * np.float32(scale)]

    path = lite(tmp_path / "m.tflite", lambda x: scale * owned.marked(x / scale, training=False), [1, 16, 16, 1],
                optimizations=[tf.lite.Optimize.DEFAULT], representative_dataset=images, inference_input_type=kind,
                inference_output_type=kind, target_spec=tf.lite.TargetSpec(
                    supported_ops=[tf.lite.OpsSet.TFLITE_BUILTINS_INT8]))
    suspect, verdict = asked(path, owned)
    own = inference.predictor(owned.marked)(owned.key.trigger[None])
    assert float(np.sqrt(np.mean((suspect(owned.key.trigger[None]) - own) ** 2))) < 0.2
    assert verdict.evident and bool(suspect.notes) == (scale > 1.0)


def test_tflite_of_plain_bytes(owned, tmp_path):
    path = lite(tmp_path / "m.tflite", lambda x: owned.marked(tf.cast(x, tf.float32) / 255.0, training=False),
                [1, None, None, 1], tf.uint8)
    suspect, verdict = asked(path, owned)
    assert verdict.evident and verdict.within_threshold and "uint8" in suspect.notes[0]


# --- sizes and batches ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["saved_model", "tflite", "onnx", "keras"])
def test_models_of_one_size_and_one_batch(form, owned, tmp_path):
    """The key has 16x16, the file takes one image of 21x24. Oracle: the marked network on K continued by hand."""
    def call(x):
        return owned.marked(x, training=False)

    if form == "keras":
        inputs = keras.Input(batch_shape=(1, 21, 24, 1))
        path = tmp_path / "m.keras"
        keras.Model(inputs, owned.marked(inputs)).save(path)
    else:
        path = {"saved_model": lambda: saved(tmp_path / "m", owned, call, [1, 21, 24, 1], tf.float32),
                "tflite": lambda: lite(tmp_path / "m.tflite", call, [1, 21, 24, 1]),
                "onnx": lambda: nchw(tmp_path / "m.onnx", owned, [1, 1, 21, 24])}[form]()
    suspect, verdict = asked(path, owned)
    by_hand = np.pad(owned.key.trigger, ((0, 5), (0, 8), (0, 0)), mode="reflect")[None]
    expected = inference.predictor(owned.marked)(by_hand)[:, :16, :16]
    np.testing.assert_allclose(suspect(np.stack([owned.key.trigger] * 3))[2], expected[0], atol=1e-4)
    assert verdict.evident and verdict.rho > 0.6
    assert any("takes 21x24, not 16x16" in line for line in suspect.notes)


@pytest.mark.parametrize("form", ["keras", "saved_model"])
def test_u_nets_that_take_multiples(form, tmp_path):
    """A key of 20x20 and a network of multiples of 16: the question is continued to 32x32."""
    inputs = keras.Input((None, None, 1))
    x = keras.layers.MaxPooling2D(16)(inputs)
    x = keras.layers.UpSampling2D(16)(x)
    model = keras.Model(inputs, keras.layers.Add()([inputs, x]))
    suspect = model
    if form == "saved_model":
        exporting.save_saved_model(model, tmp_path / "m")
        suspect = suspects.load_suspect(tmp_path / "m")
    key = keys.make_key(0, size=20)
    asked = blackbox.as_suspect(suspect, key.kind)
    answer = asked(np.stack([key.trigger] * 2))
    expected = inference.predictor(model)(np.pad(key.trigger, ((0, 12), (0, 12), (0, 0)), mode="reflect")[None])
    np.testing.assert_allclose(answer[1], expected[0, :20, :20], atol=1e-5)
    assert "takes 32x32, not 20x20" in asked.notes[0]


@pytest.mark.parametrize("enlarges", [True, False])
def test_super_resolution_of_one_size(enlarges, tmp_path):
    """A small trigger of 8x8 reaches a model of 12x12 that enlarges, and one of 20x20 that does not, upsampled."""
    key = keys.make_key(1, size=8, task="sr")
    side = 12 if enlarges else 20

    def call(x):
        return tf.repeat(tf.repeat(x, 2, 1), 2, 2) if enlarges else tf.identity(x)

    path = saved(tmp_path / "m", None, call, [1, side, side, 1], tf.float32)
    asked = blackbox.as_suspect(suspects.load_suspect(path), key.kind)
    answer = asked(key.trigger[None])
    K = key.trigger[None]
    expected = K.repeat(2, 1).repeat(2, 2) if enlarges else inference.upsampled(K, key.kind)
    np.testing.assert_allclose(answer, expected, atol=1e-6)
    assert f"takes {side}x{side}, not {'8x8' if enlarges else '16x16'}" in asked.notes[0] and len(asked.notes) == 1


def test_batches_of_one_for_every_kind(owned):
    sizes = []

    def service(images):
        sizes.append(len(images))
        return images

    suspect = blackbox.as_suspect(service, owned.key.kind, batch=2)
    images = np.stack([owned.key.trigger] * 5)
    np.testing.assert_array_equal(suspect(images), images)
    assert sizes == [2, 2, 1]
    np.testing.assert_allclose(blackbox.as_suspect(owned.marked, owned.key.kind, batch=1)(images),
                               inference.predictor(owned.marked)(images), atol=1e-6)


# --- padded and moved answers -----------------------------------------------------------------------------------------


def test_suspects_that_pad_their_answer(owned):
    def pads(images):
        return np.pad(inference.predictor(owned.marked)(images), ((0, 0), (0, 8), (0, 8), (0, 0)), mode="edge")

    suspect = blackbox.as_suspect(pads, owned.key.kind)
    verdict = verification.verify(suspect, owned.key, null_keys=100)
    assert verdict.evident and verdict.within_threshold and verdict.tries == 1
    assert suspect.notes == ["this suspect answers with 24x24, not 16x16: the top left is taken"]


@pytest.mark.parametrize("answer", [lambda x: x.repeat(2, 1).repeat(2, 2), lambda x: x[:, :-9], lambda x: x[..., 0]])
def test_answers_of_another_factor_are_not_cut(answer, owned):
    with pytest.raises(suspects.SuspectError, match="is the key for this kind of model"):
        verification.verify(answer, owned.key, null_keys=0)


@pytest.mark.parametrize("move", [(0, 1), (-1, 0), (1, -1)])
def test_answers_moved_by_a_pixel(move, owned):
    """Found where shifts are tried, and every try counts: nine of them here, and five readings."""
    def shifts(images):
        return np.roll(inference.predictor(owned.marked)(images), move, axis=(1, 2))

    assert not verification.verify(shifts, owned.key, null_keys=100).evident
    verdict = verification.verify(shifts, owned.key, null_keys=100, shifts=1)
    assert verdict.evident and (verdict.shift, verdict.tries) == (move, 14)
    assert verdict.p_value == pytest.approx(14 / 101) and verdict.rho > 0.6


@pytest.mark.parametrize("turn", TURNS, ids=str)
def test_a_network_between_two_turns(turn, owned):
    """It works as before on what it is for; the mark answers K turned as the thief turned it."""
    def turns(images):
        return turn.back(inference.predictor(owned.marked)(np.ascontiguousarray(turn.of(images))))

    assert not verification.verify(turns, owned.key, null_keys=100).evident
    verdict = verification.verify(turns, owned.key, null_keys=100, shifts=1)
    assert verdict.evident and verdict.tries == 29 and verdict.shift == (0, 0)
    # Turned by the inverse: of the two turns by a quarter, which are each other's.
    assert turn.of(next(other for other in TURNS if str(other) == verdict.turn).of(
        np.arange(9).reshape(1, 3, 3, 1))).ravel().tolist() == list(range(9))


@pytest.mark.parametrize("gain", [-0.5, -0.05, 0.05, 0.5])
def test_networks_that_sharpen_are_nobodys_in_the_negative(gain, owned):
    """They give to all images what a mark takes, and in the negative take what it takes, of every key there is."""
    generate = owned.key.kind.generate

    def network(images):
        return images + gain * np.stack([K - generate(K) for K in images])

    verdict = verification.verify(network, owned.key, null_keys=200, fresh_seed="0", shifts=1)
    assert not verdict.evident and not verdict.near and verdict.tries == 43


def test_tries_raise_the_bar(owned):
    """As it stands, one try; an unmarked host has fourteen, fifteen turns, and fourteen among tiles; p is at most 1."""
    assert verification.verify(owned.marked, owned.key, null_keys=100, shifts=1).tries == 1
    verdict = verification.verify(owned.host, owned.key, null_keys=100, shifts=1)
    assert not verdict.evident and (verdict.tries, verdict.shift) == (43, (0, 0)) and verdict.p_value <= 1.0
    alone = verification.verify(owned.host, owned.key, null_keys=0)
    assert verdict.distance == pytest.approx(alone.distance, rel=1e-5)
    # Student's t of 99 degrees of freedom: a 43rd of 1e-9 lies farther out.
    assert verdict.z_needed == pytest.approx(stats.t.isf(1e-9 / 43, 99) * np.sqrt(1.01))
    assert evidence.z_needed(100) < verdict.z_needed < 7.5


def test_moving_back_is_the_inverse_inside():
    images = np.random.default_rng(0).random((2, 6, 7, 1))
    assert moves(0) == [(0, 0)] and len(moves(1)) == 9 and moves(1)[0] == (0, 0) and len(set(moves(2))) == 25
    for move in moves(2):
        np.testing.assert_array_equal(moved(np.roll(images, move, (1, 2)), move)[:, 2:-2, 2:-2], images[:, 2:-2, 2:-2])


def test_continued_images():
    image = np.arange(9.0).reshape(1, 3, 3, 1)
    np.testing.assert_array_equal(padded(image, (3, 8))[0, 0, :, 0], [0, 1, 2, 1, 0, 1, 2, 1])
    assert multiples((40, 48)) == [(48, 48), (64, 64), (128, 128)]


# --- one trace --------------------------------------------------------------------------------------------------------


def test_a_model_is_traced_once_and_forgotten():
    """The oracle counts Python calls of the network; the cache keeps no model alive."""
    calls = []

    class Counting(keras.layers.Layer):
        def call(self, x):
            calls.append(1)
            return x * 2.0

    inputs = keras.Input((None, None, 1))
    model = keras.Model(inputs, Counting()(inputs))
    calls.clear()
    for _ in range(3):
        assert inference.predictor(model)(np.ones((2, 5, 5, 1)))[0, 0, 0, 0] == 2.0
    assert len(calls) == 1
    there = weakref.ref(model)
    del model, inputs
    gc.collect()
    assert there() is None


def test_weights_that_change_are_seen():
    model = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Conv2D(1, 1)])
    model.set_weights([np.ones((1, 1, 1, 1)), np.zeros(1)])
    predict = inference.predictor(model)
    model.set_weights([3 * np.ones((1, 1, 1, 1)), np.zeros(1)])
    for one in (predict, inference.predictor(model)):
        assert one(np.ones((1, 2, 2, 1)))[0, 0, 0, 0] == 3.0
