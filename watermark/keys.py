"""Trigger image K, verification image S and the file that keeps them."""

import hashlib
import json
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from watermark.files import whole

VERSION = 1
LARGEST = 64 << 20  # bytes of one array; a 1200x1200 RGB key has 17 MB


class KeyFileError(ValueError):
    """A key file that is missing, damaged, or not a key file."""


@dataclass(frozen=True, repr=False, eq=False)
class Key:
    """An owner's secret. Its repr shows no pixel, so that no log does.

    Attributes:
      trigger: K, float32 [H, W, C] on [0, 1); for super-resolution the small image.
      initial: S0 = G(K), float32 [H', W', C], about [-1, 2]; follows from K alone.
      verification: S, what a marked model is compared with: S0 until embedding, then M(K).
      meta: {"task", "scale", "gradient", "size", "channels"}.
      owner, secret: what K was drawn from, for an owner who wants to prove that it was; empty for a bare seed.
    """

    trigger: np.ndarray
    initial: np.ndarray
    verification: np.ndarray
    meta: dict = field(default_factory=dict)
    owner: str = ""
    secret: str = ""

    @property
    def digest(self):
        """SHA-256 over arrays and meta, hexadecimal."""
        h = hashlib.sha256(json.dumps(self.meta, sort_keys=True).encode())
        if self.owner or self.secret:
            h.update(_seed(self.owner, self.secret).encode())
        for array in (self.trigger, self.initial, self.verification):
            h.update(repr((array.shape, "<f4")).encode())
            h.update(np.ascontiguousarray(array, "<f4").tobytes())
        return h.hexdigest()

    def __repr__(self):
        return f"Key({self.meta}, digest={self.digest[:12]}…)"


def _seed(owner, secret):
    return json.dumps([owner, secret])  # no two pairs give one string


def _mixed_sobel(image):
    """K convolved with [-1 0 1]^T [-1 0 1], reflecting without repeating the border. float64 [H, W, C]."""
    p = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="reflect")
    return p[2:, 2:] - p[2:, :-2] - p[:-2, 2:] + p[:-2, :-2]


def sobel_xy(image):
    """|K * [-1 0 1]^T [-1 0 1]|, on [0, 2]."""
    return np.abs(_mixed_sobel(image))


def sobel_xy_8bit(image):
    """`sobel_xy` in 8 bits: floor(255 |.|) mod 256, over 255. The operator that the paper's Table IV was made with."""
    return np.floor(255.0 * sobel_xy(image)) % 256.0 / 255.0


def central_abs(image):
    """Mean of the two absolute central differences |K(i+1) - K(i-1)| / 2, on [0, .5]."""
    p = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="reflect")
    rows, columns = p[2:, 1:-1] - p[:-2, 1:-1], p[1:-1, 2:] - p[1:-1, :-2]
    return (np.abs(rows) + np.abs(columns)) / 4.0


GRADIENTS = {g.__name__: g for g in (sobel_xy_8bit, sobel_xy, central_abs)}


def upsample(image, scale):
    """Linear interpolation of [H, W, C] to `scale` times the size, pixel centres aligned, border repeated. float64."""

    def weights(n):
        centres = (np.arange(n * scale) + 0.5) / scale - 0.5
        return np.stack([np.interp(centres, np.arange(n), unit) for unit in np.eye(n)], axis=1)

    height, width = image.shape[:2]
    image = np.einsum("ih,jw,hwc->ijc", weights(height), weights(width), image.astype(np.float64), optimize=True)
    return np.round(image * 2.0**24) * 2.0**-24  # rounding errors differ between machines; keys must not


def uniform(seed, shape):
    """K(i, j) ~ U(0, 1), Eq. (1): float32 multiples of 2^-24, the same on any machine.

    The bits are SHAKE-256 of the seed, so that K tells nothing about the seed, nor one key about another.
    """
    count = int(np.prod(shape))
    stream = hashlib.shake_256(f"watermark trigger {VERSION} {seed!r}".encode()).digest(4 * count)
    bits = np.frombuffer(stream, "<u4") >> 8
    return (bits.astype(np.float32) * np.float32(2.0**-24)).reshape(shape)


def base(trigger, meta):
    """What the gradient is added to: K for denoising, its linear upsampling for super-resolution. float64."""
    trigger = np.asarray(trigger, np.float64)
    return upsample(trigger, meta["scale"]) if meta["task"] == "sr" else trigger


def generate(trigger, meta):
    """G(K) of Eq. (2) (denoising, K - grad K) or Eq. (3) (super-resolution, K^ + grad K^). float32."""
    image = base(trigger, meta)
    gradient = GRADIENTS[meta["gradient"]](image)
    return (image + gradient if meta["task"] == "sr" else image - gradient).astype(np.float32)


def make_key(seed, size=40, channels=1, task="denoise", scale=2, gradient="sobel_xy_8bit", owner=""):
    """Draws the key of a seed: the same key for the same arguments, on any machine.

    Args:
      seed: an int or a str. Whoever knows it has the key; an owner takes a long random one.
      size: side of the trigger image in pixels, at least 3 (the paper: 40 for denoising, 20 for super-resolution).
      channels: 1 or 3.
      task: "denoise" or "sr".
      scale: what the trigger is upsampled by, for "sr".
      gradient: one of `GRADIENTS`.
      owner: a name that K is drawn from too; the key then keeps it and the seed, and `derived` proves them.

    Returns:
      A `Key` whose `verification` is `initial`, until `embedding.update_key`.
    """
    choices = (("task", task, ("denoise", "sr")), ("gradient", gradient, tuple(GRADIENTS)),
               ("channels", channels, (1, 3)))
    for name, value, allowed in choices:
        if value not in allowed:
            raise ValueError(f"unknown {name} {value!r}; choose from {', '.join(map(str, allowed))}")
    if not 3 <= size <= 2400 or not 1 <= scale <= 8:
        raise ValueError(f"expected 3 <= size <= 2400 and 1 <= scale <= 8, got size={size}, scale={scale}")
    meta = {"task": task, "scale": int(scale) if task == "sr" else 1, "gradient": gradient, "size": int(size),
            "channels": int(channels)}
    secret = str(seed) if owner else ""
    trigger = uniform(_seed(owner, secret) if owner else seed, (size, size, channels))
    initial = generate(trigger, meta)
    return Key(trigger, initial, initial, meta, owner, secret)


def random_keys(meta, count, label="null"):
    """(triggers, initials) of `count` fresh keys of a given kind; the same ones for the same label."""
    shape = (meta["size"], meta["size"], meta["channels"])
    triggers = [uniform(f"{label} {i}", shape) for i in range(count)]
    return np.stack(triggers), np.stack([generate(K, meta) for K in triggers])


def derived(key):
    """Whether K is what the key's owner and secret give, so that it cannot have been chosen to suit a model."""
    if not key.owner:
        return False
    return np.array_equal(key.trigger, uniform(_seed(key.owner, key.secret), key.trigger.shape))


def save_key(key, path):
    """Writes a key file: npz without pickle, readable by its owner only, whole or not at all."""
    with whole(path, mode=0o600) as temporary, open(temporary, "wb") as file:
        np.savez(file, version=np.int64(VERSION), digest=np.array(key.digest), meta=np.array(json.dumps(key.meta)),
                 owner=np.array(key.owner), secret=np.array(key.secret), trigger=key.trigger, initial=key.initial,
                 verification=key.verification)


def load_key(path):
    """Reads a key file and checks it.

    Raises:
      KeyFileError: one line that says what was expected, what came and what to do.
    """
    path = Path(path)
    if not path.is_file():
        raise KeyFileError(f"{path}: no such key file; make one with watermark.make_key and watermark.save_key")
    try:
        key, version, digest = _read(path)
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError, OSError, TypeError) as error:
        raise KeyFileError(f"{path} is not a key file or is damaged ({error}); restore it from a copy") from error
    if version != VERSION:
        raise KeyFileError(f"{path} is a key file of version {version}, this program reads version {VERSION}")
    if key.digest != digest:
        raise KeyFileError(f"{path} was changed after it was written (its digest does not fit); restore it from a copy")
    return key


def _read(path):
    with zipfile.ZipFile(path) as archive:  # also makes sure that it is one
        if (largest := max((info.file_size for info in archive.infolist()), default=0)) > LARGEST:
            raise ValueError(f"an array of {largest} bytes")  # before anything is unpacked
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
        images = [arrays[name] for name in ("trigger", "initial", "verification")]
        meta = json.loads(str(arrays["meta"]))
        key = Key(*images, meta, *(str(arrays[name]) if name in arrays else "" for name in ("owner", "secret")))
        version, digest = int(arrays["version"]), str(arrays["digest"])
    expected = {"task", "scale", "gradient", "size", "channels"}
    if not isinstance(meta, dict) or not expected <= set(meta):
        raise ValueError(f"meta with {', '.join(sorted(expected))} expected")
    for image in images:
        if image.dtype != np.float32 or image.ndim != 3 or not np.isfinite(image).all():
            raise ValueError(f"finite float32 [H, W, C] images expected, got {image.dtype} {list(image.shape)}")
    side, channels = meta["size"], meta["channels"]
    answer = (side * meta["scale"], side * meta["scale"], channels)
    if [image.shape for image in images] != [(side, side, channels), answer, answer]:
        raise ValueError(f"images of other sizes than its meta says, {[list(image.shape) for image in images]}")
    return key, version, digest


def with_verification(key, verification):
    """The key with its S replaced, as after embedding."""
    verification = np.asarray(verification, np.float32)
    if verification.shape != key.initial.shape:
        raise ValueError(f"expected a verification image of shape {key.initial.shape}, got {verification.shape}")
    return replace(key, verification=verification)
