"""Model files from anywhere, opened with care: hostile and damaged ones give one clear line."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import sys
import warnings
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np

from watermark import limits
from watermark.errors import FAILURES, ModelError, first_line, one_line, raised_as
from watermark.files import atomic_write, on_disk

# Classes in a model's config that bring code, or run what a path names. Keras' safe mode stops some, in some versions.
CARRIERS = {"Lambda": "Python code in a Lambda layer", "__lambda__": "Python code in a lambda",
            "TorchModuleWrapper": "Python code in a TorchModuleWrapper", "JaxLayer": "Python code in a JaxLayer",
            "FlaxLayer": "Python code in a FlaxLayer", "TFSMLayer": "a SavedModel's program in a TFSMLayer"}
SUFFIXES = (".keras", ".h5", ".hdf5")
PAGE = "docs/bring_an_old_model.md"
# What Keras 3 cannot read, Keras 2 can: its last version lives on as a package.
OLD = ("bring it over: in an environment of its own, pip install tf-keras and python -c \"import tf_keras; "
       "tf_keras.models.load_model('{path}', compile=False).save('new.h5')\" ({page})")


def load_model(path: str | Path, *, allow_lambda: bool = False, several_inputs: bool = False) -> keras.Model:
    """A Keras model from a file.

    Args:
      path: `.keras`, or `.h5`/`.hdf5` with a whole model of Keras 2 or 3.
      allow_lambda: whether the file may carry code (layers of `CARRIERS`) that then runs on this machine. Only for
        files that you trust as you trust a program.
      several_inputs: whether a model of more inputs than one image is wanted too (`watermark.ranges.wrapped`).

    Returns:
      A `keras.Model`, not compiled; functional where it can be: a subclass over a graph comes without its own training
      step, and a subclass whose `call` works on symbolic tensors as the graph of that call.

    Raises:
      ModelError: one line that says what was expected, what came and what to do.
    """
    path = Path(path)
    if (path / "saved_model.pb").exists():
        way = _old(path) if (path / "keras_metadata.pb").exists() else (
            f"save the network itself where it was built, model.save('mine.keras') ({PAGE})")
        raise ModelError(f"{path} is a SavedModel, which answers as a suspect but has no layers to train; {way}")
    if path.suffix not in SUFFIXES:
        raise ModelError(f"{path}: expected a model file .keras, .h5 or .hdf5")
    if not path.is_file():
        raise ModelError(f"{path}: no such model file")
    size = _check_container(path, allow_lambda)
    try:
        with warnings.catch_warnings(), limits.weights_within(path, 4 * size + limits.SLACK):
            warnings.simplefilter("ignore")  # on optimizers that are not loaded, and the like
            model = keras.saving.load_model(path, compile=False, safe_mode=not allow_lambda,
                                            custom_objects=_over_graphs(path))
    except ModelError:
        raise
    except FAILURES as error:
        raise ModelError(f"{path} cannot be read as a Keras model: {_reason(error, path)}") from error
    if not isinstance(model, keras.Model):
        raise ModelError(f"{path} holds a {type(model).__name__}, expected a Keras model")
    model = _functional(model, path)
    if (len(model.inputs) != 1 and not several_inputs) or not any(len(tensor.shape) == 4 for tensor in model.inputs):
        found = ", ".join(f"{tensor.name} {list(tensor.shape[1:])}" for tensor in model.inputs)
        raise ModelError(f"{path} takes {found}; expected one batch of images [N, H, W, C]" + (
            "; give the other inputs a value, --fixed_input=NAME:0.1" if len(model.inputs) > 1 else ""))
    return model


def register_objects(path: str | Path) -> list[str]:
    """Runs a Python file and makes the layers, models and functions that it defines known to Keras.

    As `keras.saving.register_keras_serializable` does, for the whole process: copies of a model need them too. Only for
    files that you trust as you trust a program.

    Returns:
      Their names.

    Raises:
      ModelError: the file is not there, or fails.
    """
    path = Path(path)
    if path.suffix != ".py" or not path.is_file():
        raise ModelError(f"{path}: expected a Python file that defines the model's layers")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(spec.name, module)  # where dataclasses look; another of that name stays
    try:
        spec.loader.exec_module(module)
    except FAILURES as error:
        raise ModelError(f"{path} fails: {type(error).__name__}: {first_line(error)}") from error
    found = {name: value for name, value in vars(module).items() if getattr(value, "__module__", None) == path.stem}
    keras.saving.get_custom_objects().update(found)
    return sorted(found)


def _over_graphs(path):
    """{name: stand-in} for classes of the owner's whose models in a file are graphs, all the way down.

    Such a class adds at most a training step, which nothing here calls: the graph does without. Stand-ins are called as
    the classes, whose names are in the paths of the weights.
    """
    found = {}

    def look(config):
        if isinstance(config, dict):
            inner, name = config.get("config"), config.get("registered_name") or config.get("class_name")
            own = config.get("module") in (None, "__main__") or not str(config.get("module")).startswith("keras")
            if isinstance(inner, dict) and "layers" in inner and own and name not in (
                    *keras.saving.get_custom_objects(), "Functional", "Sequential", "Model"):
                base = keras.Model if "input_layers" in inner else keras.Sequential
                found[name] = type(config["class_name"], (base,), {})
            config = list(config.values())
        if isinstance(config, list):
            for item in config:
                look(item)

    look(json.loads(_config(path)))
    return found


def _config(path):
    """The text of a model file's configuration."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            return archive.read("config.json")
    with h5py.File(path) as file:
        return file.attrs["model_config"]


def _functional(model, path):
    """A model whose layers can be seen and copied: itself, or the graph that it is or makes."""
    if type(model) in (keras.Model, keras.Sequential) or (
            hasattr(model, "operations") and type(model).__name__ == "Functional"):
        return model
    if hasattr(model, "operations") and model.inputs:
        return keras.Model(model.input, model.output, name=model.name)
    try:
        shape = model.get_build_config()["input_shape"]
        try:
            return _drawn(model, (*[None] * (len(shape) - 2), shape[-1]))
        except FAILURES:  # it may take its own size alone
            return _drawn(model, shape[1:])
    except FAILURES as error:
        raise ModelError(f"{path} holds a {type(model).__name__}, whose layers cannot be seen ({first_line(error)}); "
                         "make it functional: x = keras.Input((None, None, 1)); keras.Model(x, model.call(x)), with "
                         "keras.ops in place of tf in its call, or those in a layer of their own") from error


def _drawn(model, shape):
    """The graph that a model makes of an image."""
    image = keras.Input(shape)
    return keras.Model(image, model.call(image), name=model.name)


def _check_container(path, allow_lambda):
    """Refuses what is not a model file, declares more than it holds or carries code, before Keras sees it.

    Returns:
      Its size.
    """
    if path.suffix == ".keras":
        with raised_as(ModelError, f"{path} is not a .keras file or is damaged"):
            size, carried = limits.check_archive(path), _carried(_config(path))
    else:
        limits.check_hdf5(path)
        with raised_as(ModelError, f"{path} is not an HDF5 file or is damaged"), h5py.File(path) as file:
            limits.check_weights(path, file, size := on_disk(path))
            if "model_config" not in file.attrs:
                raise ModelError(f"{path} holds weights without a model; save the whole model (model.save)")
            carried = _carried(file.attrs["model_config"])
    if carried and not allow_lambda:
        raise ModelError(f"{path} carries {carried}; pass --allow_lambda if you trust it as you trust a program")
    return size


def _reason(error, path):
    """The first line of an error, with a hint where one is due."""
    line, (version, carried) = first_line(error), _origin(path)
    if carried:
        return (f"{carried} cannot be run by this Python and Keras {keras.__version__} ({line[:80]}); where it was "
                f"written, put a layer in its place ({PAGE})")
    if version.startswith("2.") and path.suffix == ".keras":
        return f"it is of Keras {version}; {_old(path)}"
    if "Could not locate class" in str(error) or "Unknown layer" in str(error):
        named = re.search(r"(?:class|layer:?) '(\w+)'", str(error))
        return (f"it needs {named[1] if named else 'code'}, which is not in it; name the Python file that defines it, "
                "--custom_objects=my_layers.py, if you trust that file as you trust a program")
    return line


def _old(path):
    return OLD.format(path=one_line(path), page=PAGE)


def _origin(path):
    """(the version of Keras that wrote a model file, what code it carries or None)."""
    version = "unknown"
    with contextlib.suppress(OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile):
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                version = json.loads(archive.read("metadata.json"))["keras_version"]
        else:
            with h5py.File(path) as file:
                version = file.attrs.get("keras_version", "unknown")
    return version.decode() if isinstance(version, bytes) else str(version), _carried(_config(path))


def _carried(config):
    """What a model's JSON names that carries code, in whatever way its letters are written; or None.

    Keras finds "TFSMLayer" of "keras.layers" as "layers.TFSMLayer" of "keras" too: the last part of a name tells.
    """
    left = []
    with contextlib.suppress(ValueError, TypeError, RecursionError):  # what is no JSON, Keras refuses
        left = [json.loads(config)]
    while left:
        entry = left.pop()
        if isinstance(entry, str) and (name := re.split("[.>]", entry)[-1]) in CARRIERS:
            return CARRIERS[name]
        left += entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ()
    return None


def check_finite(model: keras.Model) -> None:
    """Refuses, with a ModelError, a network of whose weights some are no finite numbers: its answers say nothing."""
    if bad := [variable.path for variable in model.variables if not np.isfinite(variable.numpy()).all()]:
        raise ModelError(f"{model.name} has weights that are no finite numbers ({bad[0]}): its training went wrong; "
                         "take a copy from before")


def save_model(model: keras.Model, path: str | Path, *, new: bool = False) -> None:
    """Writes a `.keras` file, whole or not at all; with `new` it replaces none, which is a FileExistsError."""
    if Path(path).suffix != ".keras":
        raise ModelError(f"{path}: expected a name that ends in .keras")
    with atomic_write(path, new=new) as temporary:
        model.save(temporary)
