"""watermark keygen --owner="Ada Lovelace" --out=key.npz

Draws a key: the trigger image K from the owner's name and 256 bits of fresh secret, and S₀, which follows from K.
The key file is the proof: mode 0600, keep copies. Beside it appear a commitment to publish (it reveals nothing), and a
request that a time-stamp authority signs:

  curl -H "Content-Type: application/timestamp-query" --data-binary @key.commitment.tsq https://… > key.commitment.tsr

With --model=mine.keras the key is made to fit: task, size, scale and channels are the network's, and what --range it
has is said. An instant; seconds with --model. Killed, the same command writes what is missing.
"""

import contextlib
import dataclasses
import logging
import secrets
from pathlib import Path

from absl import flags

from watermark import commitments, forms
from watermark.cli import common, fitting_keys
from watermark.cli.common import beside
from watermark.errors import LONGEST_NAME, is_name
from watermark.files import exclusive, target, write
from watermark.keys import load_key, make_key, refusal, save_key, with_verification
from watermark.kinds import GRADIENTS, TASKS

log = logging.getLogger(__name__)


def define(values):
    """The verb's flags."""
    flags.DEFINE_string("out", "key.npz", "the key file to write", flag_values=values)
    flags.DEFINE_string("owner", "unnamed", "who claims; public, in the commitment", flag_values=values)
    flags.DEFINE_enum("task", "denoise", TASKS, "sr for models that enlarge images", flag_values=values)
    flags.DEFINE_string("size", None, "side of the trigger image in pixels, or HEIGHTxWIDTH; default 40, or 20 for sr",
                        flag_values=values)
    flags.DEFINE_integer("scale", 2, "what an sr trigger is enlarged by", flag_values=values)
    flags.DEFINE_integer("channels", 1, "1 or 3", flag_values=values)
    flags.DEFINE_enum("gradient", "sobel_xy_8bit", list(GRADIENTS), "the operator in S₀ = K − ∇K", flag_values=values)
    flags.DEFINE_string("sign", None, "Ed25519 private key (PEM) to sign the commitment with; made if not there",
                        flag_values=values)
    common.define_model(values)


def run(values):
    """Writes key, commitment and time-stamp request."""
    out = Path(values.out)
    common.check_out(values.out, ".npz")
    if values.sign and target(values.sign).absolute() in {
            target(path).absolute() for path in (out, beside(out, "commitment.json"), beside(out, "commitment.tsq"))}:
        raise ValueError(f"--sign={values.sign} is what --out={values.out} writes; give the private key another name")
    if not values.owner.strip() or not is_name(values.owner):
        raise ValueError(f"--owner: expected a name, printable and of {LONGEST_NAME} characters at most; it is public")
    key = make_key(secrets.token_hex(32), **_kind(values), owner=values.owner)
    if why := refusal(key):
        raise ValueError(f"nothing could be claimed with such a key: {why}; take a larger --size")
    with exclusive(out, f"{out} is being written by another watermark keygen; choose another --out"):
        _write(values, key, out, beside(out, "commitment.json"))
    return 0


def _kind(values):
    """Arguments of `make_key`: the flags' and, where they are silent, what fits --model."""
    told = {name: values[name].value for name in ("channels", "gradient") if values[name].present}
    told |= {"size": fitting_keys.read_size(values.size)} if values.size else {}
    if not values.model:
        common.check_unused(values, common.OF_MODEL, "is for --model, which is not given")
        if values["scale"].present and values.task != "sr":
            raise ValueError(f"--scale={values.scale} is for --task=sr; a key of --task={values.task} has none")
        return {"task": values.task, "size": 20 if values.task == "sr" else 40, "scale": values.scale} | told
    _, one = common.open_model(values)
    task = values.task if values["task"].present else common.likely_task(values, one)
    shape = forms.form(one)
    if not values.size and (why := fitting_keys.too_small(shape, task, values.scale)):
        raise ValueError(f"{values.model} cannot be marked: {why}")
    kind = dataclasses.replace(fitting_keys.fitting_kind(shape, task, values.scale), **told)
    fitting_keys.check_kind(one, kind)
    return kind.as_dict()


def _write(values, key, out, commitment):
    if out.exists():
        key = _unfinished(out, key, commitment)
    elif commitment.exists():
        raise ValueError(f"{commitment} is there and {out} is not, so it is of another key; move it away or choose "
                         "another --out")
    private = signing_key(values.sign)
    if not out.exists():
        save_key(key, out)
        print(f"{out}: the key, secret, readable by you alone")
    publish(key, commitment, private)


def _unfinished(out, asked, commitment):
    """The key at `out` if the same command wrote it and was killed before all was written; else a ValueError."""
    if not published(commitment):
        key = with_verification(there := load_key(out), there.initial)  # the first commitment is to S0
        if (key.owner, key.kind) == (asked.owner, asked.kind):
            return key
    raise ValueError(f"{out} exists; a key is not overwritten, move it away or choose another --out")


def signing_key(path):
    """The private key of a PEM file, made if there is none; None without a path."""
    if not path:
        return None
    if not Path(path).exists():
        with contextlib.suppress(FileExistsError):  # another process was faster
            return commitments.make_signing_key(path)
    return commitments.load_signing_key(path)


def signer(path, key):
    """The private key of `signing_key(path)` or, without a path, the one that signed the commitment beside `key`.

    That one is looked for among the .pem files there; where it is elsewhere, a note asks for it. No other signs: the
    two commitments would be taken for two people's.
    """
    first = beside(key, "commitment.json")
    public = commitments.load_commitment(first).get("public_key") if first.exists() else None
    if not public:
        return signing_key(path)
    if path:
        private = commitments.load_signing_key(path)
        if commitments.public_key(private) != public:
            raise ValueError(f"--sign={path} is another key than the one that signed {first}")
        return private
    for file in sorted(first.parent.glob("*.pem")):
        with contextlib.suppress(commitments.CommitmentError):  # a certificate, or what is no key
            private = commitments.load_signing_key(file)
            if commitments.public_key(private) == public:
                return private
    log.warning("%s is signed and its private key is not beside it: the next commitment has no signature; --sign=PEM "
                "gives it one", first)
    return None


def published(path):
    """Whether a commitment and its time-stamp request are both there."""
    return path.exists() and path.with_suffix(".tsq").exists()


def publish(key, path, private=None):
    """Writes what is missing of the commitment to `key` and a time-stamp request for it, and says so.

    A commitment to something else that is there is not replaced: it may be published, and stamped.
    """
    there = commitments.load_commitment(path) if path.exists() else None
    commitment = commitments.commit(key, there["format"] if there else commitments.FORMAT)
    if private:
        commitment = commitments.sign(commitment, private)
    if there not in (None, commitment):
        raise ValueError(f"{path} exists, of another key or signature; move it away, and the same command writes it")
    commitments.save_commitment(commitment, path)
    write(path.with_suffix(".tsq"), commitments.timestamp_request(commitment))
    print(f"{path}: the commitment, to be published; {path.with_suffix('.tsq').name} asks for its time stamp")
