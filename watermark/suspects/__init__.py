"""Suspects of every kind, each as one callable: float32 [N, H, W, C] on [0, 1] -> [N, H', W', C]."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import keras

from watermark.errors import ModelError, raised_as
from watermark.inference import predictor, single_output
from watermark.limits import check_answers
from watermark.models import SUFFIXES, load_model
from watermark.ports import SuspectError
from watermark.ranges import wrapped
from watermark.suspects.exchange import veiled
from watermark.suspects.folder import answer_files, load_folder
from watermark.suspects.program import is_function, load_function
from watermark.suspects.remote import connect, is_url
from watermark.suspects.runtimes import is_saved_model, load_onnx, load_saved_model, load_tflite

__all__ = ["ModelError", "SuspectError", "is_function", "is_saved_model", "is_url", "load_suspect"]
KINDS = ("a .keras, .h5, .tflite or .onnx file, a SavedModel folder, a folder of response images, an http(s) URL, or "
         "ask.py:function")


def load_suspect(spec: keras.Model | Callable | str | Path, *, output: str | None = None, signature: str | None = None,
                 allow_lambda: bool = False, fixed: Mapping[str, float] | None = None,
                 **remote) -> keras.Model | Callable:
    """A suspect as one callable on image batches.

    >>> from watermark import hosts
    >>> hosts.dncnn(depth=3, filters=4).save("suspect.keras")
    >>> watermark.load_suspect("suspect.keras").output_shape
    (None, None, None, 1)

    Args:
      spec: a Keras model; any callable on image batches; or a path or URL: a `.keras`, `.h5`, `.tflite` or `.onnx`
        file, a SavedModel folder, a folder of response images (`watermark.suspects.folder`), an http(s) URL
        (`watermark.suspects.remote`), or "ask.py:function" (`watermark.suspects.program`).
      output: name of the output to look at, where there are several.
      signature: of a SavedModel, here or served; by default `serving_default`, or the only one.
      allow_lambda: whether a Keras file may carry Python code.
      fixed: constants for further inputs of a Keras model, as for `watermark.ranges.wrapped`.
      **remote: for a URL, the arguments of `watermark.suspects.remote.connect`.

    Returns:
      A callable float32 [N, H, W, C] -> [N, H', W', C]; for a Keras file the Keras model.

    Raises:
      TypeError: for what is neither a model nor a callable nor a str or path, and for arguments that it does not take.
      ModelError: the file cannot be opened.
      SuspectError: now, or later from the callable, an answer that is not an image.
    """
    if isinstance(spec, str | Path) and not (is_url(spec) or is_function(spec) or os.path.exists(spec)):
        raise ModelError(f"{veiled(spec)}: no such file or folder; expected {KINDS}")
    if not isinstance(spec, str | Path) and not callable(spec):
        raise TypeError(f"expected a Keras model, a callable on image batches, {KINDS}; got {type(spec).__name__}")
    if remote and not is_url(spec):
        raise TypeError(f"{min(remote)}=…: load_suspect has no such argument, or for a URL only")
    _check_part(spec, output, signature)
    if hasattr(spec, "outputs") or _is_keras(spec):
        return _keras(spec, output, allow_lambda, fixed)
    if fixed:
        raise ModelError(f"{veiled(spec)}: further inputs can be given to Keras models only")
    if is_url(spec):
        return connect(str(spec), output=output, signature=signature, **remote)
    if not isinstance(spec, str | Path):
        return spec
    if is_function(spec):
        return load_function(str(spec))
    path = Path(spec)
    if path.is_dir():
        if is_saved_model(path):
            if found := answer_files(path):  # who was asked for answers may send a program along, which is not run
                raise ModelError(f"{path} is both, a SavedModel (saved_model.pb) and a folder of answers ({found[0]}); "
                                 "expected one: leave the program out, or give it a folder of its own")
            return load_saved_model(path, signature=signature, output=output)
        return load_folder(path)
    readers = {".tflite": load_tflite, ".onnx": load_onnx}
    if path.suffix not in readers:
        raise ModelError(f"{path}: expected {KINDS}")
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    return readers[path.suffix](path, output=output)


def _check_part(spec, output, signature):
    """Refuses a signature, or the name of an output, of what has none: it would change nothing, unnoticed."""
    named = isinstance(spec, str | Path)
    saved = named and (is_url(spec) or is_saved_model(spec))
    folder = named and Path(spec).is_dir() and not saved
    if signature and not saved:
        raise ModelError(f"{veiled(spec)}: a signature is a SavedModel's, here or served; leave it out")
    if output and (is_function(spec) or folder or not (named or hasattr(spec, "outputs"))):
        raise ModelError(f"{veiled(spec)}: a function or a folder of answers has one output; leave its name out")


def _is_keras(spec):
    return (isinstance(spec, str | Path) and not is_url(spec) and Path(spec).suffix in SUFFIXES
            and not Path(spec).is_dir())


def _keras(spec, output, allow_lambda, fixed):
    """The part of a Keras model, or of the file that it is in, with one input and one output."""
    model = spec
    if _is_keras(spec):
        model = load_model(spec, allow_lambda=allow_lambda, several_inputs=bool(fixed))
    one = wrapped(model, fixed=fixed, output=output) if fixed else single_output(model, output)
    if model is not spec:
        with raised_as(ModelError, f"{spec} is a Keras model that cannot be run"):
            # Traced here, where it is known which file it is; kept for the questions.
            check_answers(spec, one, predictor(one).forward)
    return one
