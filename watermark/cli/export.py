"""watermark export --model=marked.keras --out=marked_saved_model --key=key.npz

Writes a model in another form (by the name of --out, or --format): .keras, a SavedModel folder, .tflite (float32, or
tflite_float16, tflite_int8), .onnx; measures how far its answers are from the model's; and, given the key, verifies the
mark in the exported form. Exit code 1 if the mark is lost there. Seconds.
"""

import logging

from absl import flags

from watermark import data, exporting, forms, inference, ranges
from watermark.cli import common, fitting_keys
from watermark.evidence import LEAST_KEYS
from watermark.files import check_place
from watermark.fitting import UNIT
from watermark.keys import load_key

log = logging.getLogger(__name__)


def define(values):
    """The verb's flags."""
    common.define_model(values)
    flags.DEFINE_string("out", None, "what to write; nothing is overwritten", flag_values=values)
    flags.DEFINE_enum("format", None, list(exporting.FORMATS), "the form; default: by the name of --out",
                      flag_values=values)
    flags.DEFINE_string("key", None, "the key, to verify the exported form with", flag_values=values)
    flags.DEFINE_string("bare_seed", None, "for the key of an experiment, which names no owner: the seed that it was "
                        "drawn from", flag_values=values)
    flags.DEFINE_string("images", None, "folder of typical inputs, for the ranges of tflite_int8", flag_values=values)
    flags.DEFINE_integer("null_keys", 1000, "fresh keys asked beside the key; fewer find nothing", LEAST_KEYS,
                         flag_values=values)


def run(values):
    """Exports, checks, says so."""
    common.required(values, "out")
    common.check_new(values.out)
    check_place(values.out, f"--out={values.out}")
    form = values.format or exporting.by_name(values.out)
    if values.images and form != "tflite_int8":
        raise ValueError(f"--images is for --format=tflite_int8, this is {form}; leave it out")
    if not values.key:
        common.check_unused(values, ("bare_seed", "null_keys"), "is for a verification with --key, which is not given")
    model, one = common.open_model(values)
    if values.output and (left := [name for name in ranges.own(model).output_names if name != values.output]):
        log.warning("%s has the output %s alone, without %s", values.out, values.output, ", ".join(left))
    pixels = common.own_range(values, ranges.own(one))
    if pixels != UNIT:  # it is exported as its owner has it; constants of further inputs are built in
        one = inference.single_output(common.as_told(values, ranges.own(one), UNIT), values.output)
    key = fitting_keys.checked(one, load_key(values.key), values.bare_seed) if values.key else None
    images = _inputs(values, one) if values.images else None
    done = exporting.export(one, values.out, form, key=key, calibration=images, null_keys=values.null_keys,
                            pixels=pixels)
    print(f"{done.path}: {form}, answers within {done.parity:.2g} of the model's")
    if key is None:
        return 0
    verdict = done.verdict  # on a key that nothing is against, or it had been refused before anything was written
    found = verdict.stands_out
    print(f"the mark is {'found' if found else 'NOT found'} in it: d = {1e3 * verdict.distance:.2f}e-3 (η = "
          f"{1e3 * verdict.threshold:.2f}e-3), ρ = {verdict.rho:.3f}, z = {verdict.z_score:.1f} "
          f"({verdict.z_needed:.1f} needed)")
    return 0 if found else 1


def _inputs(values, one):
    """The images of a folder as the model takes them, cut to one size."""
    height, width = forms.form(one).above(exporting.SIDE, exporting.SIDE)
    prepare = data.grey if one.input_shape[-1] == 1 else data.rgb
    found = [prepare(image)[:height, :width] for image in data.folder_images(values.images).values()]
    inputs = [data.unit(image).reshape(height, width, -1) for image in found
              if image.shape[:2] == (height, width)]
    if not inputs:
        raise ValueError(f"{values.images} holds no image of {height}x{width} pixels or more")
    return inputs
