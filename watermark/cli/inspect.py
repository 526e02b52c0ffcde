"""watermark inspect FILE | --model=mine.keras | --suspect=WHAT

FILE (or --file=FILE): what a key, commitment, private key's public half, or model file is. Shows no pixel and no
secret. Exit code 1: of a commitment whose signature does not hold.

--model says, before any training: can this network be marked, and why not; which key fits, what range of pixels it
has, what sizes it takes, what becomes of its norms, and how good it is beside doing nothing, on photographs that come
with the program or on your own (--images, --task). Exit code 0: it can be marked; 1: not. --suspect says the same of
what is asked as a black box; a URL gets a handful of questions. What cannot be opened or asked is an error, 2.
"""

import functools
from pathlib import Path

import keras
import numpy as np
from absl import flags

from watermark import blackbox, commitments, forms, inference, preflight, ranges
from watermark.cli import common, fitting_keys, results, served
from watermark.errors import ModelError, one_line
from watermark.files import sha256
from watermark.fitting import UNIT
from watermark.hosts import folding
from watermark.keys import derived, load_key, make_key, uniform
from watermark.kinds import Kind
from watermark.metrics import threshold
from watermark.models import SUFFIXES, load_model
from watermark.suspects import SuspectError, is_saved_model, is_url, load_suspect
from watermark.tasks import SuperResolution

OF_NETWORK = ("output", "range", "fixed_input", "signature")
OF_LOADED = ("range", "fixed_input")  # what of these is not for a file that is only loaded, to see whether it can be
BROKEN = "DOES NOT HOLD"
PLAIN = (".npz", ".json", ".pem", *SUFFIXES)  # read without
PUBLIC = ("format", "owner", "key", "mark", "public_key")  # what is shown of a commitment: what is known of it
FEW_STEPS = (1, 8, 64)  # sizes that a service is asked with, which may cost money


def define(values):
    """The verb's flags."""
    flags.DEFINE_string("file", None, "what to look at", flag_values=values)
    flags.DEFINE_string("suspect", None, "a suspect, as for verify, to look at", flag_values=values)
    common.define_model(values)
    common.define_images(values)
    served.define_remote(values)


def run(values):
    """Prints name: value lines."""
    if sum(map(bool, (values.file, values.model, values.suspect))) != 1:
        raise ValueError("one of --file=… (a key, commitment or model file), --model=… (a network to mark) and "
                         "--suspect=… is needed: what to look at")
    served.check_remote(values, [values.suspect] if values.suspect else ())
    if values.file:
        useless = OF_NETWORK if Path(values.file).suffix in PLAIN else OF_LOADED
        common.check_unused(values, (*useless, *common.OF_IMAGES, *common.OF_TASKS), "is not for a FILE")
    elif not (values.images or values.pairs):
        common.check_unused(values, common.OF_IMAGES, "is for --images or --pairs, which are not given")
    if values.model:
        common.check_unused(values, ("signature",), "is for --suspect, this is --model")
    common.register(values)
    sound = True
    if values.suspect:
        facts = _asked(values)
    elif values.model:
        facts, sound = _network(values)
    else:
        facts = _of_file(Path(values.file), values)
        sound = facts.get("signature") != BROKEN
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:{width}}  {one_line(value)}")  # in part from files of others, who may write of their own lines
    return 0 if sound else 1


def _of_file(path, values):
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder")
    readers = {".npz": _key, ".json": _commitment, ".pem": _signing_key}
    if path.suffix in readers:
        return readers[path.suffix](path)
    return (_model if path.suffix in SUFFIXES else _suspect)(path, values)


def _key(path):
    key = load_key(path)
    mode = path.stat().st_mode & 0o777
    return {"kind": "key", **key.kind.as_dict(), "owner": key.owner or "none: K was drawn from a bare seed",
            "derived": "yes, from owner and secret" if derived(key) else "no",
            "embedded": "yes" if key.embedded else "no",
            "threshold η": f"{threshold(key.verification.size):.3g}", "commitment": commitments.commit(key)["key"],
            **_of_the_first(key, path),
            "mode": f"{mode:04o}" + ("" if mode & 0o077 == 0 else "; WARNING: others on this machine can read it")}


def _of_the_first(key, path):
    """The digest of the first format where there is a commitment of it: it has no secret in it, and tells K."""
    beside = common.beside(path, "commitment.json")
    first = beside.exists() and commitments.load_commitment(beside)["format"] == commitments.FIRST
    return {"of the first format": commitments.commit(key, commitments.FIRST)["key"]} if first else {}


def _commitment(path):
    commitment = commitments.load_commitment(path)
    signed = commitments.signature_holds(commitment) if {"signature", "public_key"} & set(commitment) else None
    return {"kind": "commitment", **{name: commitment[name] for name in PUBLIC if name in commitment},
            "signature": {None: "none", True: "holds", False: BROKEN}[signed]}


def _signing_key(path):
    private = commitments.load_signing_key(path)
    return {"kind": "Ed25519 private key", "public key": commitments.public_key(private)}


def _model(path, values):
    model = load_model(path, allow_lambda=values.allow_lambda, several_inputs=True)
    foldable = len(folding.foldable(model)) if hasattr(model, "operations") else 0
    return {"kind": f"Keras {type(model).__name__} {model.name!r}", "inputs": [tuple(i.shape) for i in model.inputs],
            "outputs": dict(zip(model.output_names, [tuple(o.shape) for o in model.outputs], strict=True)),
            "parameters": f"{model.count_params():,}", "layers": len(model.layers),
            "batch norms": f"{len(folding.norms(model))}, {foldable} of them foldable", "SHA-256": sha256(path)}


def _network(values):
    """(facts, whether it can be marked) of the network of --model."""
    model = common.read_model(values)
    try:
        _, one = common.one_image(values, model)
        forms.check_weights(one)
        forms.check_learns(one, shape := forms.form(one))
    except ModelError as error:
        return {"can be marked": f"no: {error}"}, False
    own = ranges.own(one)
    answers, usual = common.in_every_range(values, one)
    task, found = _measured(values, shape, answers, usual)
    if found.psnr[found.best] == -np.inf:
        return {"can be marked": "no: what it answers to images are no finite numbers"}, False
    if why := fitting_keys.too_small(shape, _key_task(task)):
        return {"can be marked": f"no: {why}"}, False
    kind = fitting_keys.fitting_kind(shape, _key_task(task))
    norms, left = len(folding.norms(own)), len(folding.norms(folding.fold_batch_norm(own)))
    typical = make_key("typical", **kind.as_dict())
    good = not found.count or found.gain > 0.0
    facts = {
        "can be marked": "yes" if good else "yes, but it is worse than doing nothing: is it trained, and what for?",
        "key": f"watermark keygen {fitting_keys.key_flags(shape, kind.task)}", "range": _range(found, usual),
        **_shape(shape),
        "norms": f"{norms}: {norms - left} folded, {left} frozen" if norms else "no batch norm",
        "arithmetic": ", ".join(sorted({layer.dtype_policy.name for layer in folding.every_layer(own)})),
        "answers": fitting_keys.limits(one, typical) or "not limited by the last layer",
        "quality": common.measured(task, found)}
    return facts, True


def _measured(values, shape, answers, usual):
    """(task, `Measured`): of the owner's task where --images or --pairs are given, else of the likeliest."""
    if values.images or values.pairs:
        task, images = common.told_task(values, shape)
        return task, preflight.measure(answers, shape, task, images, usual)
    return next(iter(preflight.guess(answers, shape, usual).items()))


def _range(found, usual):
    """What is said on the range of pixels."""
    return str(found.best) if found.best == usual else (
        f"{found.best}: embed and verify with --range={found.best.told}")


def _shape(shape):
    enlarges = f", enlarged {shape.scale} times" if shape.scale > 1 else ", the same size back"
    sizes = shape if all(shape.sides) else f"{shape} pixels"
    return {"layout": f"[N, H, W, {shape.channels}], channels last", "sizes": f"{sizes}{enlarges}"}


def _asked(values):
    """What a suspect does, as a black box."""
    asked = suspect = served.open_suspect(values)
    if isinstance(suspect, keras.Model):
        shape = forms.form(suspect)
        suspect = blackbox.as_suspect(suspect, Kind(channels=shape.channels)).source  # of integers, as verify asks it
        suspect = inference.predictor(suspect) if isinstance(suspect, keras.Model) else suspect
    else:
        shape = _probed(suspect, results.name(values.suspect), FEW_STEPS if is_url(values.suspect) else forms.STEPS)
    image = uniform("inspect", (1, *shape.above(40, 40), shape.channels))
    answer = np.asarray(suspect(image))
    layout = getattr(asked, "layout", None)
    facts = {"kind": f"suspect {results.name(values.suspect)}", **_shape(shape),
             **({"layout": layout} if layout else {}),
             "answers": f"{answer.min():.2f} to {answer.max():.2f} to noise on [0, 1]"}
    if notes := getattr(asked, "notes", None):
        facts["notes"] = "; ".join(notes)
    if is_url(values.suspect) and not values.images:
        return facts
    usual = common.pixels(values) or UNIT
    task, found = _measured(values, shape, functools.partial(_on, suspect), usual)
    why, told = fitting_keys.too_small(shape, _key_task(task)), fitting_keys.key_flags(shape, _key_task(task))
    return facts | {"key": f"none: {why}" if why else f"watermark keygen {told}",
                    "range": _range(found, usual), "quality": common.measured(task, found)}


def _on(suspect, pixels):
    """A suspect on [0, 1] from one whose pixels are on `pixels`; files bring them there by themselves."""
    if hasattr(suspect, "on"):
        return suspect if pixels == UNIT else suspect.on(pixels)
    return lambda images: pixels.back(np.asarray(suspect(pixels.of(images)), np.float32))


def _key_task(task):
    return "sr" if isinstance(task, SuperResolution) else "denoise"


def _probed(suspect, name, steps):
    """The `Form` of a callable, which may say of itself neither channels nor sizes."""
    sides, errors = {}, []
    for channels in (1, 3):
        try:
            sides[channels] = suspect.sides(channels) if hasattr(suspect, "sides") else (None, None)
        except SuspectError as error:  # a file that says that it takes others
            errors.append(error)
    for channels, own in sides.items():
        try:
            return forms.probe(lambda images: np.shape(suspect(images)), name, channels, own, steps)
        except ModelError as error:
            errors.insert(0, error)
    raise errors[-1] if len(sides) == 2 else errors[0]


def _suspect(path, values):
    load_suspect(path, output=values.output, signature=values.signature)
    if path.is_dir():
        return {"kind": "SavedModel" if is_saved_model(path) else "folder of response images"}
    return {"kind": path.suffix[1:], "SHA-256": sha256(path)}
