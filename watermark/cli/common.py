"""What several verbs share: the owner's model, images and task."""

import functools
import logging
import math
import shutil
import sys
import textwrap
from pathlib import Path

from absl import flags

from watermark import data, forms, inference, preflight, ranges
from watermark.compute import PRECISIONS
from watermark.files import check_place, target
from watermark.fitting import BYTES, UNIT, Pixels
from watermark.kinds import TASKS
from watermark.models import check_finite, load_model, register_objects
from watermark.several import define_several
from watermark.tasks import Denoising, Examples, SuperResolution

log = logging.getLogger(__name__)
COMMAND = "to repeat it: "  # stands before one
OF_TASKS = {"sigma": ("denoise",), "scales": ("sr",), "pairs": ("pairs",), "images": ("denoise", "sr")}
OF_IMAGES = ("task", "sigma", "scales", "strict")  # flags that say what is done with images
OF_MODEL = ("output", "allow_lambda", "range", "fixed_input", "custom_objects")


def required(values, *names):
    """Raises a ValueError that names the first flag that was not given."""
    for name in names:
        if values[name].value is None:
            raise ValueError(f"--{name}=… is needed: {values[name].help}")


def check_unused(values, names, why):
    """A ValueError for a flag that was given and would not be looked at; `why` ends the sentence."""
    if given := [name for name in names if values[name].present]:
        raise ValueError(f"--{given[0]} {why}; leave it out")


def check_out(out, suffix, flag="out"):
    """Raises a ValueError where --out, or another flag, cannot be written, before hours of work are done for it."""
    path = Path(out)
    if path.suffix != suffix:
        raise ValueError(f"--{flag}={out}: expected a name that ends in {suffix}")
    if path.is_dir():
        raise ValueError(f"--{flag}={out} is a folder; expected the name of a file")
    check_place(path, f"--{flag}={out}")


def check_new(out, flag="out"):
    """Raises a ValueError where --out, or another flag, is there: it may be all that somebody has of what it is."""
    if Path(out).exists():
        raise ValueError(f"--{flag}={out} exists and is not overwritten; give another --{flag}, or remove it")


def define_range(values):
    """The flag that says on what range a network, the owner's or a suspect, has its pixels."""
    flags.DEFINE_string("range", None, "of the pixels that the network takes and gives: 0,255 or -1,1; keys stay on "
                        "[0, 1]; default: 0,1, or what a file of integers says", flag_values=values)


def pixels(values):
    """The `Pixels` of --range, or None."""
    return Pixels.parse(values.range) if values.range else None


def define_model(values):
    """Flags that name a Keras model."""
    flags.DEFINE_string("model", None, "the Keras model, .keras or .h5", flag_values=values)
    flags.DEFINE_string("output", None, "name of the output that carries the mark, where there are several",
                        flag_values=values)
    flags.DEFINE_bool("allow_lambda", False, "run Python code that a model file carries", flag_values=values)
    define_range(values)
    define_inputs(values)


def define_inputs(values):
    """Flags for networks of several inputs, and with layers of their owner's."""
    define_several("fixed_input", [], "NAME:VALUE of every input but the image, in the network's own units; that "
                   "constant goes in with every image", flag_values=values)
    flags.DEFINE_string("custom_objects", None, "Python file that defines the network's own layers; it is run, as a "
                        "program is", flag_values=values)


def define_task(values):
    """Flags that say what a model is for, and how it is trained for it."""
    define_images(values)
    flags.DEFINE_integer("batch_size", 32, "patches a step", 1, flag_values=values)
    flags.DEFINE_integer("patch", None, "side of a training patch in pixels; default: the trigger's, or what the model "
                         "takes", 8, flag_values=values)
    flags.DEFINE_bool("preflight", True, "measure the network first, and refuse one that is worse at its task than "
                      "doing nothing", flag_values=values)
    flags.DEFINE_enum("precision", "bfloat16", PRECISIONS, "of training on a CPU", flag_values=values)


def define_images(values):
    """Flags that say what a model is for, and with which images that is shown."""
    flags.DEFINE_enum("task", "denoise", [*TASKS, "pairs"], "what the model does", flag_values=values)
    flags.DEFINE_float("sigma", 25.0, "noise that a denoiser removes, in 8-bit units", 0.0, flag_values=values)
    define_several("scales", ["2"], "factors of super-resolution", flag_values=values)
    flags.DEFINE_string("images", None, "folder of training images", flag_values=values)
    define_several("pairs", None, "INPUTS/,TARGETS/: two folders of images that belong together by name, such as "
                   "0001x4.png and 0001.png, for --task=pairs", flag_values=values)
    flags.DEFINE_bool("strict", False, "an image file that cannot be read, or has no partner, is an error",
                      flag_values=values)


def open_model(values, path=None):
    """(the model of --model, or at `path`, as one image on [0, 1] to another; the part of it with --output)."""
    return one_image(values, read_model(values, path))


def read_model(values, path=None):
    """The model of --model, or at `path`, as its file has it."""
    required(values, "model")
    register(values)
    return load_model(path or values.model, allow_lambda=values.allow_lambda, several_inputs=bool(values.fixed_input))


def one_image(values, model):
    """See `open_model`; a ModelError says why a model is none that can be marked."""
    check_finite(model)
    model = as_told(values, model)
    one = inference.single_output(model, values.output)
    forms.form(one)  # or an error that says what is in the way
    return model, one


def register(values):
    """Makes the layers of --custom_objects known."""
    if values.custom_objects:
        register_objects(values.custom_objects)


def as_told(values, model, on=None):
    """A model on [0, 1] with the image as its one input, by --range (or the `Pixels` `on`) and --fixed_input."""
    on, fixed = on or own_range(values, model), fixed_inputs(values)
    return model if on == UNIT and not fixed else ranges.wrapped(model, on, fixed, values.output)


def own_range(values, model):
    """The `Pixels` of --range; by default [0, 255] for an integer input, else [0, 1]."""
    return pixels(values) or (BYTES if any("int" in tensor.dtype for tensor in model.inputs) else UNIT)


def fixed_inputs(values):
    """{name: value} of --fixed_input."""
    try:
        found = {name: float(value) for name, value in (entry.rsplit(":", 1) for entry in values.fixed_input)}
    except ValueError:
        found = {"": math.nan}
    if not all(map(math.isfinite, found.values())):
        raise ValueError(f"--fixed_input={','.join(values.fixed_input)}: expected NAME:NUMBER, such as sigma:0.098")
    if len(found) < len(values.fixed_input):
        raise ValueError(f"--fixed_input={','.join(values.fixed_input)}: an input is named twice; give it one value")
    return found


def in_every_range(values, one):
    """(answers, usual range) of a model, as `preflight.measure` takes them."""
    model = ranges.own(one)

    def answers(on):
        return inference.predictor(inference.single_output(as_told(values, model, on), values.output))

    return answers, own_range(values, model)


def likely_task(values, one):
    """"denoise" or "sr", whichever a model is better at, and says so."""
    answers, usual = in_every_range(values, one)
    task, found = next(iter(preflight.guess(answers, forms.form(one), usual).items()))
    print(f"{values.model}: {measured(task, found)}")
    if values.range is None and found.best != usual:
        print(f"its pixels are on {found.best}: embed with --range={found.best.told}")
    return "sr" if isinstance(task, SuperResolution) else "denoise"


def task_words(task):
    """A task in a few words."""
    if isinstance(task, SuperResolution):
        return f"enlarging ({', '.join(map(str, task.scales))} times)"
    return f"removing noise (σ = {task.sigma:g})" if isinstance(task, Denoising) else "the pairs' task"


def measured(task, found):
    """How good a model is, in a sentence."""
    what = task_words(task)
    if not found.count:
        return f"{what}: not measured, no image is large enough"
    return (f"{what}: {found.psnr[found.best]:.2f} dB on {found.count} photographs, where doing nothing has "
            f"{found.nothing:.2f}")


def read_task(values, one):
    """(task, images) of the flags, for the model `one`, which is measured on them.

    Raises:
      ModelError: the model is worse at the task than doing nothing, or wants another range of pixels.
    """
    forms.check_weights(one)
    task, images = told_task(values, forms.form(one))
    if values.preflight:
        answers, usual = in_every_range(values, one)
        given = answers, forms.form(one), task, images
        preflight.check(preflight.measure(*given, usual), pixels(values), values.model,
                        functools.partial(preflight.hint, *given))
    return task, images


def told_task(values, shape):
    """(task, images) of the flags, for a model of that `Form`."""
    channels, scale = shape.channels, shape.scale
    if scale > 1 and values.task == "denoise":
        raise ValueError(f"--task=denoise is for networks that keep the size, this one enlarges {scale} times; "
                         "expected --task=sr, or --task=pairs")
    for name, tasks in OF_TASKS.items():
        if values[name].present and values.task not in tasks:
            raise ValueError(f"--{name} is for --task={' or '.join(tasks)}, this is --task={values.task}")
    if values.task == "pairs":
        if not values.pairs or len(values.pairs) != 2:
            raise ValueError("--pairs=INPUTS/,TARGETS/ is needed for --task=pairs")
        pairs = data.folder_pairs(*values.pairs, scale=scale, strict=values.strict)
        return Examples(channels, scale), _enough(pairs)
    required(values, "images")
    task = Denoising(values.sigma, channels) if values.task == "denoise" else _enlarging(values, channels, scale)
    return task, _enough(data.folder_images(values.images, strict=values.strict))


def _enlarging(values, channels, scale):
    """The task of --task=sr, for a model that enlarges `scale` times by itself."""
    try:
        scales = tuple(int(s) for s in values.scales)
    except ValueError as error:
        raise ValueError(f"--scales={','.join(values.scales)}: expected whole numbers") from error
    if values["scales"].present and scale > 1 and scales != (scale,):
        raise ValueError(f"--scales={','.join(values.scales)}: the network enlarges {scale} times; leave it out")
    return SuperResolution((scale,) if scale > 1 else scales, channels, small=scale > 1)


def _enough(images):
    """The values of {name: image}, with a warning where they are few to train on."""
    if len(images) < data.FEW:
        log.warning("%d images are few to train on; with %d or more, a network keeps its quality better", len(images),
                    data.FEW)
    return list(images.values())


def quality(one, task, images):
    """(mean PSNR in dB, how many images) of a model on the first six, cut to 256 pixels or to the model's size."""
    pairs = preflight.pairs(forms.form(one), task, images, side=256, count=6)
    return preflight.psnr(inference.predictor(one), task, pairs), len(pairs) // len(task.variants)


def beside(path, ending):
    """key.npz -> key.ENDING, where the key is: beside it, not beside a link to it."""
    return target(path).with_suffix(f".{ending}")


def fitted(text):
    """Text as a terminal shows it, its lines broken at words and indented; as it is where it goes elsewhere."""
    if not sys.stdout.isatty():
        return text
    width = max(shutil.get_terminal_size().columns, 40)
    return "\n".join(_wrapped(line, width) for line in text.split("\n"))


def _wrapped(line, width):
    if len(line) <= width or COMMAND in line:  # a command is to be copied whole
        return line
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.fill(line, width, subsequent_indent=f"{indent}  ", break_on_hyphens=False, break_long_words=False)
