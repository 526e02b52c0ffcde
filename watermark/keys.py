"""Trigger image K, verification image S and the file that keeps them."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from watermark.errors import LONGEST_NAME, WatermarkError, check_type, is_name, printable, raised_as
from watermark.files import atomic_write
from watermark.kinds import Kind

VERSION = 1
LARGEST = 64 << 20  # bytes of one array; a 1200x1200 RGB key has 17 MB
BLOCK = 1 << 20  # pixels of the answers to fresh keys that are held at once
LEAST_SIDE = 8  # pixels; the gradient at the border is 0, and of narrow keys little else is left
LEAST_PIXELS = 256  # numbers in K below which rho of foreign keys is too far from normal for the bar on z


class KeyFileError(WatermarkError, ValueError):
    """A key file that is missing, damaged, or not a key file."""


@dataclass(frozen=True, repr=False, eq=False)
class Key:
    """An owner's secret. Its repr shows no pixel, so that no log does.

    Attributes:
      trigger: K, float32 [H, W, C] on [0, 1); for super-resolution the small image.
      initial: S0 = G(K), float32 [H', W', C], about [-1, 2]; follows from K alone.
      verification: S, what a marked model is compared with: S0 until embedding, then M(K).
      kind: task, sizes and generator, a `Kind`.
      owner, secret: what K was drawn from, for an owner who wants to prove that it was; empty for a bare seed.

    Raises:
      ValueError: for control characters in owner or secret, and for an owner that is no name (`errors.is_name`).
    """

    trigger: np.ndarray
    initial: np.ndarray
    verification: np.ndarray
    kind: Kind
    owner: str = ""
    secret: str = ""

    def __post_init__(self):
        for name, text in (("owner", self.owner), ("secret", self.secret)):
            if printable(text) != text or {"\t", "\n"} & set(text) or name == "owner" and not is_name(text):
                raise ValueError(f"{name}: expected text without control characters, got {_hidden(name, text)}; "
                                 f"give a str without any, an owner of {LONGEST_NAME} characters at most, all seen")

    @property
    def digest(self) -> str:
        """SHA-256 over arrays and kind, hexadecimal."""
        h = hashlib.sha256(json.dumps(self.kind.as_dict(), sort_keys=True).encode())
        if self.owner or self.secret:
            h.update(_seed(self.owner, self.secret).encode())
        for array in (self.trigger, self.initial, self.verification):
            h.update(repr((array.shape, "<f4")).encode())
            h.update(np.ascontiguousarray(array, "<f4").tobytes())
        return h.hexdigest()

    @property
    def embedded(self) -> bool:
        """Whether S is the answer of a marked model by now."""
        return not np.array_equal(self.initial, self.verification)

    def __repr__(self):
        return f"Key({self.kind}, digest={self.digest[:12]}…)"


def _hidden(name, text):
    """A text for an error, which must not show a secret."""
    owner = name == "owner"
    return type(text).__name__ if not isinstance(text, str) else ascii(text[:LONGEST_NAME]) if owner else "some in it"


def plain_seed(seed: int | str) -> int | str:
    """A seed as Python's own int or str, whose `repr` is hashed; a TypeError for anything else.

    >>> plain_seed(np.int64(3)), plain_seed(np.str_("a"))
    (3, 'a')
    """
    if isinstance(seed, str):
        return str(seed)
    if isinstance(seed, int | np.integer) and not isinstance(seed, bool):
        return int(seed)
    raise TypeError(f"expected a seed that is an int or a str, got {type(seed).__name__}")


def _seed(owner, secret):
    return json.dumps([owner, secret])  # no two pairs give one string


def uniform(seed: int | str, shape: tuple) -> np.ndarray:
    """K(i, j) ~ U(0, 1), Eq. (1): float32 multiples of 2^-24, the same on any machine.

    The bits are SHAKE-256 of the seed, so that K tells nothing about the seed, nor one key about another.
    """
    count = int(np.prod(shape))
    stream = hashlib.shake_256(f"watermark trigger {VERSION} {plain_seed(seed)!r}".encode()).digest(4 * count)
    bits = np.frombuffer(stream, "<u4") >> 8
    return (bits.astype(np.float32) * np.float32(2.0**-24)).reshape(shape)


def make_key(seed: int | str, size: int | tuple[int, int] = 40, channels: int = 1, task: str = "denoise",
             scale: int = 2, gradient: str = "sobel_xy_8bit", owner: str = "") -> Key:
    """Draws the key of a seed: the same key for the same arguments, on any machine.

    >>> make_key("a long random secret", owner="Ada").verification.shape
    (40, 40, 1)

    Args:
      seed: an int or a str. Whoever knows it has the key; an owner takes a long random one.
      size: side of the trigger image in pixels, at least 3 (the paper: 40 for denoising, 20 for super-resolution), or
        (height, width).
      channels: 1 or 3.
      task: "denoise" or "sr".
      scale: what the trigger is upsampled by, for "sr".
      gradient: one of `kinds.GRADIENTS`.
      owner: a name that K is drawn from too; the key then keeps it and the seed, and `derived` proves them.

    Returns:
      A `Key` whose `verification` is `initial`, until `embedding.update_key`.

    Raises:
      ValueError: for an argument outside its choices, and for control characters in owner or seed.
      TypeError: for a seed that is neither an int nor a str.
    """
    if not 1 <= scale <= 8:
        raise ValueError(f"expected 1 <= scale <= 8, got scale={scale}")
    return draw_key(seed, Kind(task, size, scale if task == "sr" else 1, channels, gradient), owner)


def draw_key(seed: int | str, kind: Kind, owner: str = "") -> Key:
    """`make_key` for a `Kind` that is there already."""
    secret = str(plain_seed(seed)) if owner else ""
    if owner and not secret.strip():
        raise ValueError("expected a secret for a key with an owner, got an empty one; take secrets.token_hex(32)")
    trigger = uniform(_seed(owner, secret) if owner else seed, kind.trigger_shape)
    initial = kind.generate(trigger)
    return Key(trigger, initial, initial, kind, owner, secret)


def random_keys(kind: Kind, count: int, label: str = "null", first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(triggers, initials) of fresh keys `first` to `first + count`; the same ones for the same label."""
    triggers = [uniform(f"{label} {i}", kind.trigger_shape) for i in range(first, first + count)]
    return np.stack(triggers), np.stack([kind.generate(K) for K in triggers])


def key_blocks(kind: Kind, count: int, label: str = "null") -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`random_keys` in pieces of at most `BLOCK` pixels, so that a thousand large keys never lie in memory at once."""
    piece = max(1, BLOCK // int(np.prod(kind.answer_shape)))
    for first in range(0, count, piece):
        yield random_keys(kind, min(piece, count - first), label, first)


def derived(key: Key) -> bool:
    """Whether K is what the key's owner and secret give, so that it cannot have been chosen to suit a model."""
    return bool(key.owner and key.secret.strip()) and _follows(key, _seed(key.owner, key.secret))


def _follows(key, seed):
    return np.array_equal(key.trigger, uniform(seed, key.kind.trigger_shape))


def defect(key: Key) -> str:
    """What makes a key no key, in a clause; "" where all its parts follow from each other as they should."""
    if why := _misshapen(key):
        return why
    if key.trigger.min() < 0.0 or key.trigger.max() >= 1.0:
        return "K has pixels outside [0, 1)"
    if not np.array_equal(key.initial, key.kind.generate(key.trigger)):
        return "S₀ is not what the gradient operator makes of K: it was made up"
    if (key.owner or key.secret) and not (key.owner and _follows(key, _seed(key.owner, key.secret))):
        return "K does not follow from the owner's name and the secret that the key states: it was made up"
    return ""


def _misshapen(key):
    images, answer = (key.trigger, key.initial, key.verification), key.kind.answer_shape
    for image, shape in zip(images, (key.kind.trigger_shape, answer, answer), strict=True):
        if image.dtype != np.float32 or image.shape != shape:
            return f"float32 of {list(shape)} pixels expected, as its kind says, got {image.dtype} {list(image.shape)}"
        if not np.isfinite(image).all():
            return "finite pixels expected, got NaN or infinity"
    return ""


def refusal(key: Key, bare_seed: int | str | None = None) -> str:
    """Why nothing can be claimed with a key, however a suspect answers it; "" for one that claims may rest on.

    The evidence compares a key with fresh ones, and means something only if K was drawn as they were: by a hash. A K
    found by gradient descent on the suspect stands out too. So K must follow from owner and secret, or, in experiments,
    from the seed of `make_key(seed)` that the caller names.
    """
    if why := defect(key):
        return why
    if key.trigger.size < LEAST_PIXELS:
        return f"K has {key.trigger.size} pixels, and fewer than {LEAST_PIXELS} are no evidence"
    if min(key.trigger.shape[:2]) < LEAST_SIDE:
        return f"K has a side of {min(key.trigger.shape[:2])} pixels, and fewer than {LEAST_SIDE} are no evidence"
    if derived(key) or (bare_seed is not None and _follows(key, bare_seed)):
        return ""
    if key.owner:  # or it would be no key
        return "its secret is empty, so that anybody can draw it"
    if bare_seed is not None:
        return "K is not what the bare seed that was named gives"
    return ("K is not derived from an owner's name and a secret, so that it may have been chosen to suit the suspect "
            "(for a key of a bare seed, name it: bare_seed=…, --bare_seed=SEED)")


def save_key(key: Key, path: str | Path) -> None:
    """Writes a key file: npz without pickle, readable by its owner only, whole or not at all.

    A file that is there is replaced only by the same K and S0, as after embedding; and not once it has a mark's S, by
    that of another mark.

    >>> watermark.save_key(watermark.make_key("a long random secret", owner="Ada"), "key.npz")

    Raises:
      FileExistsError: there is another file at `path`.
      KeyFileError: no program would read the file, for an image is misshapen or not finite; nothing is written.
    """
    path = Path(path)
    check_type("key", key, Key, "make_key draws one, load_key reads a file")
    if why := _misshapen(key):  # it may be about to replace the only copy of a secret
        raise KeyFileError(f"{path} is not written, no program would read that key: {why}")
    new = not path.exists()
    if not new and not _replaces(key, path):
        raise FileExistsError(f"{path} exists and is not this key or its mark; a key is not overwritten, move it away")
    with atomic_write(path, mode=0o600, new=new) as temporary, open(temporary, "wb") as file:
        np.savez(file, version=np.int64(VERSION), digest=np.array(key.digest), owner=np.array(key.owner),
                 secret=np.array(key.secret), meta=np.array(json.dumps(key.kind.as_dict())), trigger=key.trigger,
                 initial=key.initial, verification=key.verification)


def _replaces(key, path):
    """Whether the file at `path` is the same key, and nothing would be lost with its S."""
    try:
        there = load_key(path)
    except KeyFileError:
        return False
    same = (there.kind, there.owner, there.secret) == (key.kind, key.owner, key.secret)
    images = ((there.trigger, key.trigger), (there.initial, key.initial))
    kept = not there.embedded or np.allclose(there.verification, key.verification, atol=1e-3)  # or a mark's S is lost
    return same and all(map(np.array_equal, *zip(*images, strict=True))) and kept


def load_key(path: str | Path) -> Key:
    """Reads a key file and checks it: its digest, 0 <= K < 1, S0 = G(K), and that K follows from owner and secret.

    >>> watermark.save_key(watermark.make_key("a long random secret", owner="Ada"), "mine.npz")
    >>> watermark.load_key("mine.npz").owner
    'Ada'

    Raises:
      KeyFileError: one line that says what was expected, what came and what to do.
    """
    path = Path(path)
    if not path.is_file():
        raise KeyFileError(f"{path}: no such key file; make one with watermark keygen, or make_key and save_key")
    with raised_as(KeyFileError, f"{path} is not a key file or is damaged; restore it from a copy"):
        key, version, digest = _read(path)
    if version != VERSION:
        raise KeyFileError(f"{path} is a key file of version {version}, this program reads version {VERSION}")
    if key.digest != digest:
        raise KeyFileError(f"{path} was changed after it was written (its digest does not fit); restore it from a copy")
    if why := defect(key):
        raise KeyFileError(f"{path} is no key that watermark keygen or make_key drew: {why}")
    return key


def _read(path):
    with zipfile.ZipFile(path) as archive:  # also makes sure that it is one
        if (largest := max((info.file_size for info in archive.infolist()), default=0)) > LARGEST:
            raise ValueError(f"an array of {largest} bytes")  # before anything is unpacked
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
        images = [arrays[name] for name in ("trigger", "initial", "verification")]
        kind = Kind.of(json.loads(str(arrays["meta"])))
        key = Key(*images, kind, *(str(arrays[name]) if name in arrays else "" for name in ("owner", "secret")))
        version, digest = int(arrays["version"]), str(arrays["digest"])
    if why := _misshapen(key):
        raise ValueError(why)
    return key, version, digest


def with_verification(key: Key, verification: np.ndarray) -> Key:
    """The key with its S replaced, as after embedding; a ValueError for another shape, and for NaN or infinity."""
    verification = np.asarray(verification, np.float32)
    if verification.shape != key.initial.shape:
        raise ValueError(f"expected a verification image of shape {key.initial.shape}, got {verification.shape}")
    if not np.isfinite(verification).all():
        raise ValueError("expected finite numbers, got NaN or infinity; look for NaN in the weights of the model")
    return replace(key, verification=verification)
