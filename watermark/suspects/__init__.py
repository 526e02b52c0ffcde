"""Suspects of every kind, each as one callable: float32 [N, H, W, C] on [0, 1] -> [N, H', W', C]."""

from pathlib import Path

from watermark.inference import SuspectError, single_output
from watermark.models import ModelError, load_model
from watermark.ranges import ranged, wrapped
from watermark.suspects.folder import load_folder
from watermark.suspects.remote import connect, is_url
from watermark.suspects.runtimes import is_saved_model, load_onnx, load_saved_model, load_tflite

__all__ = ["ModelError", "SuspectError", "connect", "is_saved_model", "is_url", "load_folder", "load_onnx",
           "load_saved_model", "load_suspect", "load_tflite"]
KINDS = "a .keras, .h5, .tflite or .onnx file, a SavedModel folder, a folder of response images, or an http(s) URL"


def load_suspect(spec, *, output=None, signature=None, allow_lambda=False, pixels="0,1", fixed=None, **remote):
    """A suspect as one callable on image batches.

    Args:
      spec: a Keras model; any callable on image batches; or a path or URL: a `.keras`, `.h5`, `.tflite` or `.onnx`
        file, a SavedModel folder, a folder of response images (`watermark.suspects.folder`), or an http(s) URL
        (`watermark.suspects.remote`).
      output: name of the output to look at, where there are several.
      signature: of a SavedModel; by default `serving_default`, or the only one.
      allow_lambda: whether a Keras file may carry Python code.
      pixels, fixed: what the suspect's own pixels and further inputs are, as for `watermark.ranges.wrapped`; `fixed`
        for Keras models only.
      **remote: for a URL, the arguments of `watermark.suspects.remote.connect`.

    Returns:
      A callable float32 [N, H, W, C] -> [N, H', W', C]; for a Keras file the Keras model.

    Raises:
      ModelError: the file cannot be opened.
      SuspectError: now, or later from the callable, an answer that is not an image.
    """
    if pixels != "0,1" or fixed:
        return _told(spec, output, pixels, fixed, signature=signature, allow_lambda=allow_lambda, **remote)
    if not isinstance(spec, str | Path):
        return single_output(spec, output) if hasattr(spec, "outputs") else spec
    if is_url(spec):
        return connect(str(spec), output=output, **remote)
    path = Path(spec)
    if path.is_dir():
        if is_saved_model(path):
            return load_saved_model(path, signature=signature, output=output)
        return load_folder(path)
    if is_keras(path):
        return single_output(load_model(path, allow_lambda=allow_lambda), output)
    readers = {".tflite": load_tflite, ".onnx": load_onnx}
    if path.suffix not in readers:
        raise ModelError(f"{path}: expected {KINDS}")
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    return readers[path.suffix](path, output=output)


def _told(spec, output, pixels, fixed, **options):
    """A suspect of another range of pixels, or with further inputs."""
    if is_keras(spec):
        model = load_model(spec, allow_lambda=options["allow_lambda"], several_inputs=bool(fixed))
        return wrapped(model, pixels, fixed, output)
    if hasattr(spec, "outputs"):
        return wrapped(spec, pixels, fixed, output)
    if fixed:
        raise ModelError(f"{spec}: further inputs can be given to Keras models only")
    return ranged(load_suspect(spec, output=output, **options), pixels)


def is_keras(spec):
    """Whether a suspect is named as a Keras file."""
    return isinstance(spec, str | Path) and Path(spec).suffix in (".keras", ".h5", ".hdf5") and not is_url(spec)
