"""Oracles: formulas by hand, a second implementation in scipy, and a pinned digest."""

import dataclasses
import io
import stat
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from watermark import keys, kinds, metrics
from watermark.schemes import MODULES, get_scheme


def test_same_seed_same_key_on_any_machine():
    assert keys.make_key(1).digest == keys.make_key(1).digest
    assert keys.make_key(1).digest.startswith("90248257df125f69")
    assert keys.make_key("owner", size=20, channels=3, task="sr", scale=3, gradient="central_abs").digest.startswith(
        "8ea073a0a6cf8b32")
    assert keys.make_key(1).digest != keys.make_key(2).digest


def test_trigger_is_uniform():
    trigger = keys.make_key(5, size=400).trigger
    assert trigger.shape == (400, 400, 1) and trigger.dtype == np.float32
    assert trigger.min() >= 0.0 and trigger.max() < 1.0
    counts, _ = np.histogram(trigger, 16, (0, 1))
    assert np.sum((counts - 10_000.0) ** 2 / 10_000.0) < 37.7  # chi-squared, 15 degrees of freedom, p = .001


def test_blocks_are_one_draw(monkeypatch):
    monkeypatch.setattr(keys, "BLOCK", 3 * 256)
    blocks = list(keys.key_blocks(kinds.Kind(size=16), 8, "a"))
    assert [len(triggers) for triggers, _ in blocks] == [3, 3, 2]
    for parts, whole in zip(zip(*blocks, strict=True), keys.random_keys(kinds.Kind(size=16), 8, "a"), strict=True):
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_mixed_sobel_against_scipy():
    image = np.random.default_rng(0).random((9, 7, 1))
    kernel = np.outer([-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0])
    expected = np.abs(ndimage.correlate(image[..., 0], kernel, mode="mirror"))
    np.testing.assert_allclose(kinds.sobel_xy(image)[..., 0], expected, atol=1e-12)


def test_eight_bit_gradient_by_hand():
    image = np.zeros((3, 3, 1))
    image[0, 0] = image[2, 2] = 1.0
    # At the centre: 1 + 1 = 2, in 8 bits 510, wrapped 254.
    assert kinds.sobel_xy_8bit(image)[1, 1, 0] == pytest.approx(254 / 255)


def test_central_abs_by_hand():
    ramp = np.tile(np.arange(5.0)[:, None, None], (1, 5, 1)) / 10
    # Slope .1 along rows, 0 along columns: the mean of the two is .05.
    assert kinds.central_abs(ramp)[2, 2, 0] == pytest.approx(0.05)


def test_verification_image_of_denoising():
    key = keys.make_key(3)
    expected = key.trigger - kinds.sobel_xy_8bit(key.trigger.astype(np.float64))
    np.testing.assert_allclose(key.initial, expected, atol=1e-7)
    np.testing.assert_array_equal(key.initial, key.verification)


def test_verification_image_of_super_resolution():
    key = keys.make_key(3, size=20, task="sr")
    up = ndimage.zoom(key.trigger[..., 0].astype(np.float64), 2, order=1, mode="nearest", grid_mode=True)
    assert key.initial.shape == (40, 40, 1)
    np.testing.assert_allclose(kinds.upsample(key.trigger, 2)[..., 0], up, atol=1e-7)
    np.testing.assert_allclose(key.initial[..., 0] - up, kinds.sobel_xy_8bit(up[..., None])[..., 0], atol=1e-2)


def test_corners_aligned_as_tensorflow_1_did():
    """Oracle: TensorFlow's operator of then, with its defaults. A denoiser's key has no upsampling to choose."""
    key = keys.make_key(3, size=20, task="sr", scale=3, gradient="corner_sobel_xy_8bit")
    up = tf.raw_ops.ResizeBilinear(images=key.trigger[None], size=[60, 60]).numpy()[0]
    np.testing.assert_allclose(key.kind.base(key.trigger), up, atol=3e-6)
    np.testing.assert_allclose(key.initial, up + kinds.sobel_xy_8bit(key.kind.base(key.trigger)), atol=3e-6)
    assert key.digest != keys.make_key(3, size=20, task="sr", scale=3).digest
    with pytest.raises(ValueError, match="expected the task sr"):
        keys.make_key(3, gradient="corner_sobel_xy_8bit")


def test_distance_between_gradients_is_the_papers():
    # Section V-D3 prints 8.59e-3 between two initial keys; ∇K of independent keys gives 8.9e-3 (method of Eq. 8).
    gradients = [key.trigger - key.initial for key in map(keys.make_key, range(20))]
    distances = [metrics.distance(a, b) for a, b in zip(gradients, gradients[1:], strict=False)]
    assert np.mean(distances) == pytest.approx(8.9e-3, abs=0.1e-3)


@pytest.mark.parametrize("bad", [{"task": "blur"}, {"gradient": "sobel"}, {"channels": 2}, {"size": 2}, {"scale": 0}])
def test_bad_arguments_list_the_choices(bad):
    with pytest.raises(ValueError, match="choose from|expected"):
        keys.make_key(1, **bad)


def test_file_round_trip_is_secret_and_exact(tmp_path):
    key = keys.with_verification(keys.make_key(1), keys.make_key(2).initial)
    keys.save_key(key, tmp_path / "key.npz")
    assert stat.S_IMODE((tmp_path / "key.npz").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key.npz"]
    loaded = keys.load_key(tmp_path / "key.npz")
    assert loaded.digest == key.digest and loaded.kind == key.kind
    np.testing.assert_array_equal(loaded.verification, key.verification)


def test_repr_shows_no_pixels():
    assert "array" not in repr(keys.make_key(1))


def _rewritten(path, **changes):
    with np.load(path) as arrays:
        content = dict(arrays) | changes
    np.savez(path, **content)


def test_damaged_and_foreign_files_are_refused(tmp_path):
    path = tmp_path / "key.npz"

    def fresh():
        path.unlink(missing_ok=True)
        keys.save_key(keys.make_key(1), path)

    def refused(match):
        with pytest.raises(keys.KeyFileError, match=match) as error:
            keys.load_key(path)
        assert "\n" not in str(error.value)

    refused("no such key file")
    fresh()
    path.write_bytes(path.read_bytes()[:3000])
    refused("damaged")
    path.write_bytes(b"")
    refused("damaged")
    path.write_text("not a key")
    refused("damaged")
    np.savez(path, weights=np.zeros(3))
    refused("damaged")
    fresh()
    _rewritten(path, version=np.int64(99))
    refused("version 99")
    fresh()
    _rewritten(path, trigger=keys.make_key(2).trigger)
    refused("changed")
    fresh()
    _rewritten(path, trigger=np.full((40, 40, 1), np.nan, np.float32))
    refused("finite")
    fresh()
    _rewritten(path, meta=np.array("[1]"))
    refused("meta")
    np.savez(path, trigger=np.array([{}], object))
    refused("damaged")


def test_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 28,)})
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("trigger.npy", header.getvalue() + bytes(80 << 20))
    with pytest.raises(keys.KeyFileError, match="bytes"):
        keys.load_key(tmp_path / "bomb.npz")


OWNED = keys.make_key("a secret", size=16, owner="Ada")
GREY = np.full((16, 16, 1), 0.5, np.float32)


def _with_trigger(trigger, **changes):
    initial = OWNED.kind.generate(trigger)
    return dataclasses.replace(OWNED, trigger=trigger, initial=initial, verification=initial, **changes)


UNSOUND = {
    "S₀ made up": (dataclasses.replace(OWNED, initial=GREY), "S₀ is not what the gradient operator makes of K"),
    "one pixel of S₀": (dataclasses.replace(OWNED, initial=OWNED.initial + np.float32(1e-6)), "S₀ is not"),
    "K of one": (_with_trigger(np.ones((16, 16, 1), np.float32)), r"outside \[0, 1\)"),
    "K below 0": (_with_trigger(-GREY), r"outside \[0, 1\)"),
    "K of nothing": (_with_trigger(GREY), "does not follow from the owner's name and the secret"),
    "another's name": (dataclasses.replace(OWNED, owner="Eve"), "does not follow"),
    "a secret without a name": (dataclasses.replace(OWNED, owner=""), "does not follow"),
    "another kind": (dataclasses.replace(OWNED, kind=kinds.Kind(size=16, gradient="central_abs")), "S₀ is not"),
    "another size": (dataclasses.replace(OWNED, kind=kinds.Kind(size=20)), "as its kind says"),
    "another task": (dataclasses.replace(OWNED, kind=kinds.Kind("sr", size=16, scale=2)), "as its kind says"),
    "S of doubles": (dataclasses.replace(OWNED, verification=OWNED.initial.astype(np.float64)), "float32"),
    "S of NaN": (dataclasses.replace(OWNED, verification=OWNED.initial * np.float32("nan")), "finite"),
}


@pytest.mark.parametrize("name", UNSOUND)
def test_what_is_no_key_is_refused_when_read_and_when_judged(name, tmp_path, monkeypatch):
    key, why = UNSOUND[name]
    with monkeypatch.context() as patch:  # others write what save_key does not
        patch.setattr(keys, "_misshapen", lambda key: "")
        keys.save_key(key, tmp_path / "key.npz")
    with pytest.raises(keys.KeyFileError, match=why):
        keys.load_key(tmp_path / "key.npz")
    assert keys.refusal(key) == keys.refusal(key, bare_seed=0) != ""


def test_claims_rest_on_derived_keys_or_on_a_seed_that_is_named(tmp_path):
    assert keys.refusal(OWNED) == ""
    bare = keys.make_key(7, size=16)
    keys.save_key(bare, tmp_path / "bare.npz")
    assert "chosen to suit" in keys.refusal(keys.load_key(tmp_path / "bare.npz"))
    assert keys.refusal(bare, bare_seed=7) == "" and "bare seed" in keys.refusal(bare, bare_seed=8)
    assert "bare seed" in keys.refusal(_with_trigger(GREY, owner="", secret=""), bare_seed=7)
    assert "fewer than 256" in keys.refusal(keys.make_key("a", size=15, owner="Ada"))


def test_narrow_keys_are_no_evidence():
    """Both have pixels enough."""
    assert "side of 7 pixels" in keys.refusal(keys.make_key("a secret", size=(7, 40), owner="Ada"))
    assert "side of 7 pixels" in keys.refusal(keys.make_key("a secret", size=(40, 7), owner="Ada"))
    assert keys.refusal(keys.make_key("a secret", size=(8, 40), owner="Ada")) == ""


def test_a_key_file_is_replaced_by_the_same_key_only(tmp_path):
    path = tmp_path / "key.npz"
    keys.save_key(OWNED, path)
    embedded = keys.with_verification(OWNED, GREY)
    keys.save_key(embedded, path)
    for other in (keys.make_key("another", size=16, owner="Ada"), OWNED, dataclasses.replace(embedded, owner="Eve")):
        with pytest.raises(FileExistsError, match="not overwritten"):
            keys.save_key(other, path)
    assert keys.load_key(path).digest == embedded.digest
    path.write_text("something else")
    with pytest.raises(FileExistsError):
        keys.save_key(OWNED, path)
    assert [p.name for p in tmp_path.iterdir()] == ["key.npz"]


def test_of_several_writers_of_one_key_file_one_writes(tmp_path):
    """20 times four threads, each with its own key: one is told that it wrote, and the file is its key."""

    def write(key, path):
        try:
            keys.save_key(key, path)
        except FileExistsError:
            return None
        return key.digest

    mine = [keys.make_key(i, size=16) for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for i in range(20):
            path = tmp_path / f"{i}.npz"
            told = {digest for digest in pool.map(write, mine, [path] * 4) if digest}
            assert told == {keys.load_key(path).digest}


@pytest.mark.parametrize("part", ["initial", "trigger", "owner", "digest"])
def test_a_key_file_that_holds_a_part_twice_is_refused(part, tmp_path):
    """zip takes the last of two; whichever is read, the file's digest is of the first."""
    path, array = tmp_path / "key.npz", io.BytesIO()
    keys.save_key(keys.make_key("a secret", size=16, owner="Ada"), path)
    np.save(array, np.array("Eve") if part in ("owner", "digest") else np.zeros((16, 16, 1), np.float32))
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr(f"{part}.npy", array.getvalue())
    with pytest.raises(keys.KeyFileError, match="its digest does not fit|is not a key file|is no key that"):
        keys.load_key(path)


@pytest.mark.parametrize("kind", [{"size": 2400, "channels": 3}, {"task": "sr", "size": 2001, "scale": 2}])
def test_a_key_that_no_file_could_hold_is_not_drawn(kind):
    with pytest.raises(ValueError, match="at most 16,000,000 numbers"):
        kinds.Kind(**kind)
    kinds.Kind(size=2400)


def test_a_seed_is_an_int_or_a_str_whatever_class_it_came_as():
    """NumPy's numbers and strings give the key of the same Python ones, whose digests are pinned above."""
    for make in (keys.make_key, lambda seed: keys.make_key(seed, owner="Ada")):
        for seed, same in ((np.int64(3), 3), (np.uint8(3), 3), (np.str_("a"), "a")):
            assert make(seed).digest == make(same).digest
        for bad in (None, True, np.True_, 1.0, np.zeros(3), b"a", (1, 2)):
            with pytest.raises(TypeError, match="an int or a str, got"):
                make(bad)
    assert not keys.refusal(keys.make_key(3), np.int64(3))


@pytest.mark.parametrize("scheme", MODULES)
def test_every_scheme_takes_seeds_alike(scheme):
    make, kind = get_scheme(scheme).make_key, kinds.Kind(size=16)
    for one, other in zip(*(vars(make(seed, kind)).values() for seed in (np.int64(3), 3)), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(TypeError, match="an int or a str, got"):
        make(None, kind)


@pytest.mark.parametrize("text", ["s\0", "\0", "a\x1b[2J", "a\nb", "\u202eadA", "\ud800"], ids=ascii)
def test_a_key_that_a_file_would_not_keep_is_not_drawn(text):
    """NumPy's strings end before trailing NULs: such a key was saved and never read again."""
    for seed, owner in ((text, "Ada"), ("a secret", text)):
        with pytest.raises(ValueError, match="expected text without control characters") as error:
            keys.make_key(seed, owner=owner)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="without control characters"):
        dataclasses.replace(keys.make_key("a secret", owner="Ada"), owner=text)
    for name in ("Ada\u200b Lovelace", 201 * "A"):  # which reads as another's name, or fills a page
        with pytest.raises(ValueError, match="an owner of 200 characters at most, all seen"):
            keys.make_key("a secret", owner=name)
    for name in ("Ada\u00a0Lovelace", "\u0645\u06cc\u200c\u0646\u0627", "\u5c71\u7530\u3000\u82b1\u5b50"):
        assert keys.make_key("a secret", owner=name, size=16).owner == name


@pytest.mark.parametrize("broken", [np.full((16, 16, 1), np.nan, np.float32), np.zeros((4, 4, 1), np.float32)],
                         ids=["not finite", "of another size"])
def test_a_key_that_no_program_reads_never_replaces_a_good_one(broken, tmp_path):
    """Oracle: the file's bytes. The secret is nowhere else."""
    keys.save_key(OWNED, path := tmp_path / "key.npz")
    before = path.read_bytes()
    with pytest.raises(keys.KeyFileError, match="is not written, no program would read that key"):
        keys.save_key(dataclasses.replace(OWNED, verification=broken), path)
    with pytest.raises(FileExistsError, match="is not this key"):  # the same K, but an S0 that was made up
        keys.save_key(dataclasses.replace(OWNED, initial=OWNED.initial + np.float32(0.1)), path)
    assert path.read_bytes() == before and keys.load_key(path).digest == OWNED.digest
    with pytest.raises(ValueError, match="finite numbers, got NaN"):
        keys.with_verification(OWNED, np.full_like(OWNED.initial, np.inf))


@pytest.mark.parametrize("secret", ["", " "])
def test_a_key_without_a_secret_is_anybodys(secret, tmp_path):
    """Oracle: what anybody draws who has the owner's name."""
    with pytest.raises(ValueError, match="expected a secret .* got an empty one; take secrets.token_hex"):
        keys.make_key(secret, size=16, owner="Ada")
    trigger = keys.uniform(keys._seed("Ada", secret), (16, 16, 1))
    initial = OWNED.kind.generate(trigger)
    keys.save_key(keys.Key(trigger, initial, initial, OWNED.kind, "Ada", secret), tmp_path / "old.npz")
    old = keys.load_key(tmp_path / "old.npz")
    assert not keys.derived(old) and keys.refusal(old) == "its secret is empty, so that anybody can draw it"


def test_arguments_of_another_type_are_told_from_others():
    with pytest.raises(ValueError, match="got size='16'"):
        keys.make_key(1, size="16")
    with pytest.raises(ValueError, match="owner: expected text .*, got int; give a str"):
        keys.make_key(1, size=16, owner=3)
    with pytest.raises(TypeError, match="key: expected a Key, got str"):
        keys.save_key("a.npz", "b.npz")
