"""What several verbs share: the owner's model, images and task."""

import math
from pathlib import Path

from absl import flags

from watermark import data, inference, metrics, preflight, ranges
from watermark.kinds import Kind
from watermark.models import load_model, register_objects
from watermark.tasks import Denoising, Examples, SuperResolution
from watermark.verification import residual_correlation


def required(values, *names):
    """Raises a ValueError that names the first flag that was not given."""
    for name in names:
        if values[name].value is None:
            raise ValueError(f"--{name}=… is needed: {values[name].help}")


def define_model(values):
    """Flags that name a Keras model."""
    flags.DEFINE_string("model", None, "the Keras model, .keras or .h5", flag_values=values)
    flags.DEFINE_string("output", None, "name of the output that carries the mark, where there are several",
                        flag_values=values)
    flags.DEFINE_bool("allow_lambda", False, "run Python code that a model file carries", flag_values=values)
    define_range(values)
    define_inputs(values)


def define_range(values):
    """The flag that says on what range a network, the owner's or a suspect, has its pixels."""
    flags.DEFINE_enum("range", None, list(ranges.RANGES), "of the network's own pixels; keys stay on [0, 1]; default: "
                      "0,1, or 0,255 where its input is of an integer type", flag_values=values)


def define_inputs(values):
    """Flags for networks of several inputs, and with layers of their owner's."""
    flags.DEFINE_list("fixed_input", [], "NAME:VALUE of every input but the image, in the network's own units; that "
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
    flags.DEFINE_enum("precision", "bfloat16", ["bfloat16", "float32"], "of training on a CPU", flag_values=values)


def define_images(values):
    """Flags that say what a model is for, and with which images that is shown."""
    flags.DEFINE_enum("task", "denoise", ["denoise", "sr", "pairs"], "what the model does", flag_values=values)
    flags.DEFINE_float("sigma", 25.0, "noise that a denoiser removes, in 8-bit units", 0.0, flag_values=values)
    flags.DEFINE_list("scales", ["2"], "factors of super-resolution", flag_values=values)
    flags.DEFINE_string("images", None, "folder of training images", flag_values=values)
    flags.DEFINE_list("pairs", None, "INPUTS/,TARGETS/: two folders of images of the same names, for --task=pairs",
                      flag_values=values)


def open_model(values):
    """(the model of --model as one image on [0, 1] to another, the part of it with the output of --output)."""
    required(values, "model")
    register(values)
    model = load_model(values.model, allow_lambda=values.allow_lambda, several_inputs=bool(values.fixed_input))
    model = as_told(values, model)
    one = inference.single_output(model, values.output)
    preflight.form(one)  # or an error that says what is in the way
    return model, one


def register(values):
    """Makes the layers of --custom_objects known."""
    if values.custom_objects:
        register_objects(values.custom_objects)


def as_told(values, model, pixels=None):
    """A model on [0, 1] with the image as its one input, by --range (or `pixels`) and --fixed_input."""
    pixels, fixed = pixels or own_range(values, model), fixed_inputs(values)
    if pixels == "0,1" and not fixed:
        return model
    return ranges.wrapped(model, pixels, fixed, values.output)


def own_range(values, model):
    """The range of --range; by default [0, 255] for an integer input, else [0, 1]."""
    return values.range or ("0,255" if any("int" in tensor.dtype for tensor in model.inputs) else "0,1")


def fixed_inputs(values):
    """{name: value} of --fixed_input."""
    try:
        return {name: float(value) for name, value in (entry.rsplit(":", 1) for entry in values.fixed_input)}
    except ValueError as error:
        raise ValueError(f"--fixed_input={','.join(values.fixed_input)}: expected NAME:NUMBER, such as sigma:0.098"
                         ) from error


def in_every_range(values, one):
    """(answers, usual range) of a model, as `preflight.measure` takes them."""
    model = ranges.own(one)

    def answers(pixels):
        return inference.predictor(inference.single_output(as_told(values, model, pixels), values.output))

    return answers, own_range(values, model)


def likely_task(values, one):
    """"denoise" or "sr", whichever a model is better at, and says so."""
    answers, usual = in_every_range(values, one)
    task, found = next(iter(preflight.guess(answers, preflight.form(one), usual).items()))
    print(f"{values.model}: {measured(task, found)}")
    if values.range is None and found.best != usual:
        print(f"its pixels are on [{found.best.replace(',', ', ')}]: embed with --range={found.best}")
    return "sr" if isinstance(task, SuperResolution) else "denoise"


def measured(task, found):
    """How good a model is, in a sentence."""
    what = {Denoising: "removing noise (σ = {0.sigma:g})", SuperResolution: "enlarging ({0.scales[0]} times)",
            Examples: "the pairs' task"}[type(task)].format(task)
    if not found.count:
        return f"{what}: not measured, no image is large enough"
    return (f"{what}: {found.psnr[found.best]:.2f} dB on {found.count} photographs, where doing nothing has "
            f"{found.nothing:.2f}")


def read_task(values, one):
    """(task, images) of the flags, for the model `one`, which is measured on them.

    Raises:
      ModelError: the model is worse at the task than doing nothing, or wants another range of pixels.
    """
    preflight.check_weights(one)
    task, images = told_task(values, preflight.form(one))
    if values.preflight:
        answers, usual = in_every_range(values, one)
        found = preflight.measure(answers, preflight.form(one), task, images, usual)
        preflight.check(found, values.range, values.model)
    return task, images


def told_task(values, shape):
    """(task, images) of the flags, for a model of that `Form`."""
    channels, scale = shape.channels, shape.scale
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


def check_key(one, key):
    """A ValueError where a key does not fit a model; says what the model's last layer costs the mark, if it does."""
    check_kind(one, key.kind)
    if costs := limits(one, key):
        print(costs, flush=True)


def check_kind(one, kind):
    """A ValueError where keys of a kind do not fit a model, with those that do."""
    shape = preflight.form(one)
    fits = f"make a key that fits: watermark keygen {key_flags(shape, kind.task, kind.scale)}"
    if kind.channels != shape.channels:
        raise ValueError(f"the model has {shape.channels} channels (--channels={shape.channels}), the key "
                         f"{kind.channels}; {fits}")
    if (kind.scale if kind.task == "sr" else 1) != shape.scale and shape.scale > 1:
        raise ValueError(f"the model enlarges {shape.scale} times, the key wants {kind.scale}; make a key that fits: "
                         f"watermark keygen {key_flags(shape, 'sr', shape.scale)}")
    sides = trigger_sides(one, kind)
    if not shape.fits(*sides):
        raise ValueError(f"the model takes sides of {shape} pixels and the key's trigger has {sides[0]}x{sides[1]}; "
                         f"{fits}")


def limits(one, key):
    """What a model's last layer keeps it from answering, in a sentence; "" if nothing."""
    low, high = ranges.bounds(one)
    reached = key.initial.clip(low, high)
    if not (lost := float((reached != key.initial).mean())):
        return ""
    rho = residual_correlation(key.trigger[None], reached[None], key.initial[None], key.kind)[0]
    return (f"the model's last layer answers on [{low:g}, {high:g}] only, and {lost:.0%} of S₀ lies beyond: at best "
            f"d = {1e3 * metrics.distance(reached, key.initial):.1f}e-3, ρ = {rho:.2f}")


def trigger_sides(one, kind):
    """(height, width) of a key's trigger where it enters the model: brought to size for one that enlarges nothing."""
    times = kind.scale if kind.task == "sr" and preflight.form(one).scale == 1 else 1
    return tuple(times * side for side in kind.sides)


def fitting_kind(shape, task, scale=2):
    """The `Kind` of key of a task that fits a model of that `Form`."""
    if task != "sr":
        return Kind(size=shape.size(40), channels=shape.channels)
    scale = shape.scale if shape.scale > 1 else max(scale, 2)
    times = scale if shape.scale == 1 else 1  # such a model gets the trigger brought to size
    sides = (own // times if own else -(-20 * times // step) * step // times
             for own, step in zip(shape.sides, [math.lcm(shape.step, times)] * 2, strict=True))
    return Kind("sr", tuple(sides), scale, shape.channels)


def key_flags(shape, task, scale=2):
    """What to type behind `watermark keygen` for a key of `fitting_kind`."""
    kind = fitting_kind(shape, task, scale)
    size = "x".join(map(str, kind.sides)) if isinstance(kind.size, tuple) else kind.size
    return ((f"--task=sr --scale={kind.scale} " if task == "sr" else "") + f"--size={size}"
            + (f" --channels={kind.channels}" if kind.channels != 1 else ""))


def read_size(text):
    """48 or "48" as 48, "36x64" as (36, 64): height x width."""
    try:
        sides = tuple(int(side) for side in str(text).split("x"))
    except ValueError:
        sides = ()
    if len(sides) not in (1, 2):
        raise ValueError(f"--size={text}: expected a side in pixels, or HEIGHTxWIDTH, such as 36x64")
    return sides[0] if len(sides) == 1 else sides


def patch_size(values, one, key):
    """Side, or (height, width), of a training patch, and a ValueError where the key or --patch does not fit."""
    check_key(one, key)
    shape = preflight.form(one)
    told = (values.patch, values.patch) if values.patch else trigger_sides(one, key.kind)
    height, width = (own or side for own, side in zip(shape.sides, told, strict=True))
    if not shape.fits(height, width):
        raise ValueError(f"--patch={values.patch}: the model takes images of {shape} pixels")
    return height if height == width else (height, width)


def quality(one, task, images, limit=6):
    """(mean PSNR in dB, how many images) of a model on the first images, cut to 256 pixels or to the model's size."""
    pairs = preflight.pairs(preflight.form(one), task, images, side=256, count=limit)
    return preflight.psnr(inference.predictor(one), task, pairs), len(pairs) // len(task.variants)


def beside(path, ending):
    """key.npz -> key.ENDING."""
    return Path(path).with_suffix(f".{ending}")
