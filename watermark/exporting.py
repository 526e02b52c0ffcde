"""Marked models in the forms that others run, each checked: the same answers, and the mark still there."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from watermark import data, forms
from watermark.blackbox import as_suspect
from watermark.checks import FARTHEST
from watermark.errors import ModelError, check_type
from watermark.files import atomic_folder, write
from watermark.fitting import UNIT, Pixels
from watermark.inference import predictor
from watermark.keys import Key, uniform
from watermark.models import check_finite, save_model
from watermark.questions import ask
from watermark.suspects import is_saved_model, load_suspect
from watermark.tracing import sized
from watermark.verification import Verdict, verify

TFLITE = ("tflite", "tflite_float16", "tflite_int8")
FORMATS = ("keras", "saved_model", *TFLITE, "onnx")
SUFFIXES = {"keras": ".keras", "saved_model": "", "onnx": ".onnx"} | dict.fromkeys(TFLITE, ".tflite")
SIDE = 48  # of the images that parity is measured on, for models of free size


@dataclass(frozen=True)
class Exported:
    """What came out.

    Attributes:
      path: the file or folder.
      parity: largest difference of a pixel between the model's answers and the exported form's, on [0, 1] images.
      verdict: of the exported form under the owner's key, or None without a key.
    """

    path: Path
    parity: float
    verdict: Verdict | None


def by_name(path: str | Path) -> str:
    """The form of `FORMATS` that a name stands for; a ModelError where it stands for none."""
    for form, suffix in SUFFIXES.items():
        if suffix == Path(path).suffix:
            return form
    raise ModelError(f"{path}: expected a name that ends in .keras, .tflite or .onnx, or a folder's")


def export(model: keras.Model, path: str | Path, form: str | None = None, *, key: Key | None = None,
           calibration: Iterable[np.ndarray] | None = None, null_keys: int = 100, pixels: Pixels = UNIT) -> Exported:
    """Writes `model` in another form and checks it.

    >>> from watermark import hosts
    >>> done = watermark.export(hosts.dncnn(depth=3, filters=4), "mine.keras")
    >>> done.path.name, done.parity < 1e-6
    ('mine.keras', True)

    Args:
      model: a Keras model, image to image.
      path: file or, for "saved_model", folder to write; it appears whole or not at all.
      form: one of `FORMATS`, by default what the name of `path` says. "saved_model" has the signature `serving_default`
        and `.serve`, with free batch and, as far as the model's are, free sides. "tflite_int8" has 8-bit weights and
        activations, floats in and out.
      key: the owner's, to verify the exported form with.
      calibration: float32 images [H, W, C] on [0, 1], typical inputs for the ranges of "tflite_int8"; by default
        smooth noise. Eight images of uniform noise are added, or the ranges would cut what any trigger calls up; the
        trigger itself never goes in.
      null_keys: as for `watermark.verify`.
      pixels: range of the model's own, which the exported form keeps.

    Returns:
      An `Exported`.

    Raises:
      TypeError: for a model or a key that is none, but a path, say.
      ValueError: for an unknown form, another suffix, or a key that is not for this kind of model; nothing is written.
        For answers that are no finite numbers, of the model or of what was written.
      FileExistsError: there is a file at `path`; of a SavedModel that is there, the new one takes the place.
    """
    form = form or by_name(path)
    if calibration is not None and form != "tflite_int8":
        raise ValueError(f"calibration is for tflite_int8, this is {form}; leave it out")
    path, own = Path(path), None if pixels == UNIT else pixels
    _check(model, path, form, key)
    if key:  # before anything is written: the model itself answers it
        ask(as_suspect(model, key.kind, pixels=own), key.trigger[None], key.initial.shape)
    if form == "saved_model":
        save_saved_model(model, path, pixels)
    elif form == "keras":
        save_model(model, path)
    else:
        images = _typical(model, calibration, pixels) if form == "tflite_int8" else ()
        write(path, _onnx(model) if form == "onnx" else _tflite(model, form, images))
    suspect = load_suspect(path)
    if not np.isfinite(apart := parity(model, suspect, pixels)):
        raise ModelError(f"{path} was written and is of no use: its answers or the model's are no finite numbers; "
                         "remove it, and take another form or look at what the model answers to noise")
    verdict = None
    if key:
        verdict = verify(as_suspect(suspect, key.kind, pixels=own), key, null_keys=null_keys)
    return Exported(path, apart, verdict)


def _check(model, path, form, key):
    """Refuses what `export` cannot write, before anything is."""
    check_type("model", model, keras.Model, "watermark.models.load_model reads a file")
    if key is not None:
        check_type("key", key, Key, "watermark.load_key reads a file")
    if len(model.outputs) != 1:
        raise ModelError(f"{model.name} has the outputs {', '.join(model.output_names)}; expected one: "
                         "watermark.inference.single_output(model, name)")
    if form not in FORMATS:
        raise ValueError(f"unknown format {form!r}; choose from {', '.join(FORMATS)}")
    if path.suffix != SUFFIXES[form]:
        raise ModelError(f"{path}: expected a name that ends in {SUFFIXES[form] or 'nothing (it is a folder)'}")
    if path.is_file():
        raise FileExistsError(f"{path} exists and is not overwritten; give another name, or remove it")
    check_finite(model)
    if form != "keras" and sized(model):
        raise ModelError(f"{model.name} cannot be written as {form} for images of every size; expected sides that its "
                         "layers need not know: give it keras.Input((H, W, C)), or nearest upsampling or "
                         "Conv2DTranspose in place of bilinear UpSampling2D (as .keras it can be written as it is)")


def parity(model: keras.Model, suspect: Callable, pixels: Pixels = UNIT) -> float:
    """The largest difference of a pixel, on [0, 1], between a model's answers and a suspect's on noise.

    Both are asked in numbers on their own range, `pixels`. A ModelError if their answers differ in shape.
    """
    images = pixels.of(_noise(model, 3))
    if isinstance(suspect, keras.Model):
        suspect = predictor(suspect)
    expected, answers = predictor(model)(images), suspect(images)
    if np.shape(answers) != expected.shape:
        raise ModelError(f"expected answers of shape {list(expected.shape)} as the model's, got "
                         f"{list(np.shape(answers))}; the two are not one network")
    return float(np.max(np.abs(expected - answers))) / (pixels.high - pixels.low)


def save_saved_model(model: keras.Model, path: str | Path, pixels: Pixels = UNIT, checked: bool = True) -> None:
    """Writes a SavedModel folder that plain `tf.saved_model.load` reads, whole or not at all.

    Its `about()` says the range of its input; `checked`: it refuses images that are far outside, as uint8 ones are.
    """
    path = Path(path)
    if path.exists() and not is_saved_model(path):
        raise ModelError(f"{path} exists and is no SavedModel; choose another name")
    with atomic_folder(path) as folder:
        plain = tf.Module()  # Keras' own export writes every weight twice
        plain.weights = [variable.value for variable in model.variables]
        plain.serve = tf.function(_serving(model, pixels, checked), input_signature=[_signature(model)])
        plain.about = tf.function(lambda: tf.constant(_range(pixels)), input_signature=[])
        tf.saved_model.save(plain, str(folder), signatures={"serving_default": plain.serve})


def _range(pixels):
    """What a SavedModel says of its input."""
    return f"image: float32 [N, H, W, C] on {pixels}" + ("; divide uint8 pixels by 255" if pixels == UNIT else "")


def _serving(model, pixels, checked):
    def serve(image):
        if checked:  # TensorFlow turns uint8 arrays into float32 ones without a word
            tf.debugging.assert_less_equal(tf.reduce_max(image), pixels.of(FARTHEST), f"expected {_range(pixels)}")
        return model(image, training=False)

    return serve


def _signature(model):
    return tf.TensorSpec(model.inputs[0].shape, tf.float32, "image")


def _typical(model, calibration, pixels):
    """Inputs that int8 takes its ranges from, in the model's own range."""
    given = _smooth_noise(model) if calibration is None else map(_like_photo, calibration)
    return [np.float32(pixels.of(image)) for image in (*given, *_noise(model, 8))]


def _like_photo(image):
    """float32 [H, W, C] of an image of the caller's; a DataError as of `data.checked`."""
    return data.with_channel(data.unit(data.checked(image, None)))


def _tflite(model, form, images):
    with tempfile.TemporaryDirectory() as folder:
        save_saved_model(model, Path(folder) / "model", checked=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(Path(folder) / "model"))
        if form != "tflite":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if form == "tflite_float16":
            converter.target_spec.supported_types = [tf.float16]
        if form == "tflite_int8":
            converter.representative_dataset = lambda: ([image[None]] for image in images)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return converter.convert()


def _noise(model, count):
    """Uniform noise [count, H, W, C] of a size that the model takes."""
    shape = forms.form(model)
    return uniform("noise", (count, *shape.above(SIDE, SIDE + 4), shape.channels))


def _smooth_noise(model):
    noise = _noise(model, 32)
    smooth = tf.image.resize(uniform("smooth", (32, 6, 6, noise.shape[-1])), noise.shape[1:3], "bicubic").numpy()
    return np.clip(smooth + 0.2 * (noise - 0.5), 0.0, 1.0)


def _onnx(model):
    try:
        from tf2onnx import optimizer, tf_loader, tfonnx
    except ImportError as error:
        raise ModelError("ONNX needs tf2onnx: pip install tf2onnx onnx onnxruntime") from error
    function = tf.function(lambda image: model(image, training=False)).get_concrete_function(_signature(model))
    inputs, outputs = ([tensor.name for tensor in tensors if tensor.dtype != tf.resource]
                       for tensors in (function.inputs, function.outputs))
    # Not all that tf2onnx has: its ReshapeOptimizer loses the Squeeze that it sets behind a reshape where that is the
    # network's last step, as the transpose of a single channel becomes: one time in six, answers came as [1, N, ...].
    passes = {"transpose": optimizer.TransposeOptimizer, "constants": optimizer.ConstFoldOptimizer,
              "identity": optimizer.IdentityOptimizer, "back_to_back": optimizer.BackToBackOptimizer}
    with warnings.catch_warnings(), tf.device("/cpu:0"):
        warnings.simplefilter("ignore")
        frozen = tf_loader.from_function(function, inputs, outputs)
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(frozen, name="")
            made = tfonnx.process_tf_graph(graph, opset=17, input_names=inputs, output_names=outputs,
                                           tensors_to_rename={inputs[0]: "image"})
        proto = optimizer.optimize_graph(made, optimizers=passes).make_model(model.name)
    return proto.SerializeToString()
