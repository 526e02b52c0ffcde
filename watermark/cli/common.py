"""What several verbs share: the owner's model, images and task."""

import os
from pathlib import Path

import numpy as np
from absl import flags

from watermark import data, inference
from watermark.models import ModelError, load_model
from watermark.tasks import Denoising, Examples, SuperResolution


def required(values, *names):
    """Raises a ValueError that names the first flag that was not given."""
    for name in names:
        if values[name].value is None:
            raise ValueError(f"--{name}=… is needed: {values[name].help}")


def check_out(out, suffix):
    """Raises a ValueError where --out cannot be written, before hours of work are done for it."""
    path = Path(out)
    if path.suffix != suffix:
        raise ValueError(f"--out={out}: expected a name that ends in {suffix}")
    if path.is_dir():
        raise ValueError(f"--out={out} is a folder; expected the name of a file")
    there = next(parent for parent in path.absolute().parents if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise ValueError(f"--out={out} cannot be written: {there} is no folder that you may write to")


def define_model(values):
    """Flags that name a Keras model."""
    flags.DEFINE_string("model", None, "the Keras model, .keras or .h5", flag_values=values)
    flags.DEFINE_string("output", None, "name of the output that carries the mark, where there are several",
                        flag_values=values)
    flags.DEFINE_bool("allow_lambda", False, "run Python code that a model file carries", flag_values=values)


def define_task(values):
    """Flags that say what a model is for, and on which images it is trained."""
    flags.DEFINE_enum("task", "denoise", ["denoise", "sr", "pairs"], "what the model does", flag_values=values)
    flags.DEFINE_float("sigma", 25.0, "noise that a denoiser removes, in 8-bit units", 0.0, flag_values=values)
    flags.DEFINE_list("scales", ["2"], "factors of super-resolution", flag_values=values)
    flags.DEFINE_string("images", None, "folder of training images", flag_values=values)
    flags.DEFINE_list("pairs", None, "INPUTS/,TARGETS/: two folders of images of the same names, for --task=pairs",
                      flag_values=values)
    flags.DEFINE_integer("batch_size", 32, "patches a step", 1, flag_values=values)
    flags.DEFINE_integer("patch", None, "side of a training patch in pixels; default: the trigger's, or what the model "
                         "takes", 8, flag_values=values)
    flags.DEFINE_enum("precision", "bfloat16", ["bfloat16", "float32"], "of training on a CPU", flag_values=values)


def open_model(values):
    """The model of --model, checked to be image to image."""
    required(values, "model")
    model = load_model(values.model, allow_lambda=values.allow_lambda)
    if not hasattr(model, "operations"):
        raise ModelError(f"{values.model} is a {type(model).__name__}; expected a functional or sequential Keras "
                         "model, whose layers can be seen")
    one = inference.single_output(model, values.output)
    if len(one.output_shape) != 4:
        raise ModelError(f"{values.model}: expected an image to an image, got {one.input_shape} to {one.output_shape}")
    if one.input_shape[-1] not in (1, 3):
        raise ModelError(f"{values.model}: expected 1 or 3 channels, got {one.input_shape[-1]}")
    return model, one


def read_task(values, one):
    """(task, images) of the flags, for the model `one`.

    Images are cut to the model's size where that is fixed.
    """
    channels, scale = one.input_shape[-1], native_scale(one)
    if values.task == "pairs":
        if not values.pairs or len(values.pairs) != 2:
            raise ValueError("--pairs=INPUTS/,TARGETS/ is needed for --task=pairs")
        inputs, targets = map(data.folder_images, values.pairs)
        if not (names := sorted(set(inputs) & set(targets))):
            raise ValueError(f"{values.pairs[0]} and {values.pairs[1]} have no file name in common")
        pairs = [(inputs[name], targets[name]) for name in names]
        for name, (a, b) in zip(names, pairs, strict=True):
            if tuple(scale * side for side in a.shape[:2]) != b.shape[:2]:
                raise ValueError(f"{name}: the target has {b.shape[:2]} pixels, expected {scale} times {a.shape[:2]}")
        return Examples(channels, scale), pairs
    required(values, "images")
    images = list(data.folder_images(values.images).values())
    if values.task == "denoise":
        return Denoising(values.sigma, channels), images
    try:
        scales = tuple(int(s) for s in values.scales)
    except ValueError as error:
        raise ValueError(f"--scales={','.join(values.scales)}: expected whole numbers") from error
    return SuperResolution((scale,) if scale > 1 else scales, channels, small=scale > 1), images


def native_scale(one):
    """How many times its input a model's answer is; a ModelError unless that is a whole number."""
    height, width, channels = (side or default for side, default in zip(one.input_shape[1:], (48, 48, 1), strict=True))
    _, *answer = one.compute_output_shape((1, height, width, channels))
    scale = (answer[0] or height) // height
    if [answer[0], answer[1], answer[2]] != [scale * height, scale * width, channels]:
        raise ModelError(f"{one.name} makes {answer} of {[height, width, channels]}; expected the same size or a whole "
                         "multiple, and as many channels")
    return scale


def patch_size(values, one, key):
    """Side of a training patch, and a ValueError where the key does not fit the model."""
    sides = one.input_shape[1:3]
    fixed = sides[0] or sides[1]
    trigger = key.kind.size * (key.kind.scale if key.kind.task == "sr" and native_scale(one) == 1 else 1)
    if fixed and set(sides) - {trigger}:
        raise ValueError(f"the model takes images of {sides[0]}x{sides[1]} pixels only and the key's trigger has "
                         f"{trigger}x{trigger}; make a key of that size, or save the model with free sides")
    if key.kind.channels != one.input_shape[-1]:
        raise ValueError(f"the model has {one.input_shape[-1]} channels, the key {key.kind.channels}; make a key "
                         f"with watermark keygen --channels={one.input_shape[-1]}")
    return values.patch or fixed or trigger


def quality(one, task, images, limit=6):
    """(mean PSNR in dB, how many images) of a model on the first images, cut to 256 pixels or to the model's size."""
    height, width = (side or 256 for side in one.input_shape[1:3])
    scale = native_scale(one)

    def cut(image):
        if isinstance(image, tuple):
            return image[0][:height, :width], image[1][:scale * height, :scale * width]
        return image[:scale * height, :scale * width]

    chosen = [cut(image) for image in images[:limit]]
    fits = [image for image in chosen if not one.input_shape[1] or np.shape(
        image[0] if isinstance(image, tuple) else image)[:2] == (height, width) or scale > 1]
    return (float(inference.evaluate(one, task, fits).mean()), len(fits)) if fits else (float("nan"), 0)


def beside(path, ending):
    """key.npz -> key.ENDING."""
    return Path(path).with_suffix(f".{ending}")
