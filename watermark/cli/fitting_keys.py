"""What keys and patches fit a model: its sizes, channels, scale, and the limits of its answers."""

import math

from watermark import forms, metrics, ranges
from watermark.interrogation import rho_of
from watermark.keys import LEAST_PIXELS, refusal
from watermark.kinds import Kind

HIDDEN = "…"  # in the place of a seed, where a result repeats the flags


def checked(one, key, bare_seed=None):
    """The key, if it fits a model and a claim may rest on it (a bare seed as --bare_seed has it); else a ValueError."""
    check_kind(one, key.kind)
    if why := refusal(key, bare(bare_seed)):
        raise ValueError(f"nothing can be claimed with this key: {why}")
    return key


def bare(seed):
    """--bare_seed as `make_key` had it: whole numbers are ints."""
    if seed == HIDDEN:
        raise ValueError(f"--bare_seed={HIDDEN}: put the seed of the key there, which no result names")
    return int(seed) if seed and seed.lstrip("-").isdecimal() else seed


def check_kind(one, kind):
    """A ValueError where keys of a kind do not fit a model, with those that do."""
    shape = forms.form(one)
    fits = _advice(shape, kind.task, kind.scale)
    if kind.channels != shape.channels:
        raise ValueError(f"the model has {shape.channels} channels (--channels={shape.channels}), the key "
                         f"{kind.channels}; {fits}")
    if kind.scale != shape.scale and shape.scale > 1:
        raise ValueError(f"the model enlarges {shape.scale} times, the key wants {kind.scale}; "
                         f"{_advice(shape, 'sr', shape.scale)}")
    sides = trigger_sides(one, kind)
    if not shape.fits(*sides):
        raise ValueError(f"the model takes sides of {shape} pixels and the key's trigger has {sides[0]}x{sides[1]}; "
                         f"{fits}")


def _advice(shape, task, scale):
    if why := too_small(shape, task, scale):
        return f"and no key is of use there: {why}"
    return f"make a key that fits: watermark keygen {key_flags(shape, task, scale)}"


def too_small(shape, task, scale=2):
    """Why no key for a network of that `Form` would be evidence, in a clause; "" where there is one."""
    pixels = math.prod(fitting_kind(shape, task, scale).trigger_shape)
    return "" if pixels >= LEAST_PIXELS else (
        f"it takes {shape}, a K of {pixels} pixels, and fewer than {LEAST_PIXELS} are no evidence; give it free sides")


def limits(one, key):
    """What a model's last layer keeps it from answering, in a sentence; "" if nothing."""
    low, high = ranges.bounds(one)
    reached = key.initial.clip(low, high)
    if not (lost := float((reached != key.initial).mean())):
        return ""
    return (f"the model's last layer answers on [{low:g}, {high:g}] only, and {lost:.0%} of S₀ lies beyond: at best "
            f"d = {1e3 * metrics.distance(reached, key.initial):.1f}e-3, ρ = {rho_of(key, reached):.2f}")


def trigger_sides(one, kind):
    """(height, width) of a key's trigger where it enters the model: brought to size for one that enlarges nothing."""
    times = kind.scale if forms.form(one).scale == 1 else 1
    return tuple(times * side for side in kind.sides)


def fitting_kind(shape, task, scale=2):
    """The `Kind` of key of a task that fits a model of that `Form`."""
    if task != "sr":
        return Kind(size=shape.size(40), channels=shape.channels)
    scale = shape.scale if shape.scale > 1 else max(scale, 2)
    times = scale if shape.scale == 1 else 1  # such a model gets the trigger brought to size
    step = math.lcm(shape.step, times)
    sides = (own // times if own else -(-20 * times // step) * step // times for own in shape.sides)
    kind = Kind("sr", tuple(sides), scale, shape.channels)
    if shape.scale == 1 and math.prod(kind.trigger_shape) < LEAST_PIXELS:  # of its own size a key is larger
        return fitting_kind(shape, "denoise")
    return kind


def key_flags(shape, task, scale=2):
    """What to type behind `watermark keygen` for a key of `fitting_kind`."""
    kind = fitting_kind(shape, task, scale)
    size = "x".join(map(str, kind.sides)) if isinstance(kind.size, tuple) else kind.size
    return ((f"--task=sr --scale={kind.scale} " if kind.task == "sr" else "") + f"--size={size}"
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
    """Side, or (height, width), of a training patch for a key that fits, and a ValueError where --patch does not."""
    shape = forms.form(one)
    if values.patch and any(own not in (None, values.patch) for own in shape.sides):
        own = "x".join(str(side or "any") for side in shape.sides)
        raise ValueError(f"--patch={values.patch}: the model takes images of {own} pixels; leave it out")
    told = (values.patch, values.patch) if values.patch else trigger_sides(one, key.kind)
    height, width = (own or side for own, side in zip(shape.sides, told, strict=True))
    if not shape.fits(height, width):
        raise ValueError(f"--patch={values.patch}: the model takes images of {shape} pixels")
    return height if height == width else (height, width)
