"""Oracles: purity by repetition, statistics, Pillow and scikit-image."""

import ast
import hashlib
from pathlib import Path

import cachetools
import numpy as np
import pytest
import skimage.color
import tensorflow as tf

from watermark import data, inference, tasks
from watermark.data import patches

RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 256, shape, np.uint8) for shape in ((50, 60), (70, 45))]


def _first(batches, start=0):
    return [part.numpy() for part in next(iter(batches(start)))]


@pytest.mark.parametrize("task", tasks.TASKS.values())
def test_batch_is_a_function_of_seed_and_number(task):
    def batches(seed):
        return task.batches(IMAGES, seed=seed, batch_size=5, size=20)

    fourth = list(batches(1)(0).take(4))[3]
    for a, b in zip(_first(batches(1), 3), fourth, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(_first(batches(1)), _first(batches(2)))
    assert not np.array_equal(_first(batches(1)), _first(batches(1), 1))


def test_noise_is_gaussian_fresh_and_not_clipped():
    noisy, clean = _first(data.denoising_batches(IMAGES, seed=0, batch_size=64, size=30, sigma=25))
    assert noisy.shape == clean.shape == (64, 30, 30, 1) and noisy.dtype == np.float32
    assert clean.min() >= 0.0 and clean.max() <= 1.0 and noisy.min() < 0.0
    noise = noisy - clean
    assert noise.std() == pytest.approx(25 / 255, rel=0.01) and abs(noise.mean()) < 2e-3
    assert not np.array_equal(noise[0], noise[1])


def test_patches_are_cut_flipped_and_turned():
    image = np.arange(30 * 30, dtype=np.int32).reshape(30, 30)
    drawn = patches.Patches.of([(image,)], 8).draw(400, (1, 2))
    seen = set()
    for patch in drawn.numpy()[..., 0]:
        top, left = divmod(patch.min(), 30)
        cut = image[top:top + 8, left:left + 8]
        views = [np.rot90(v, k) for v in (cut, cut[:, ::-1]) for k in range(4)]
        match = [i for i, view in enumerate(views) if np.array_equal(view, patch)]
        assert len(match) == 1
        seen.add(match[0])
    assert seen == set(range(8))


def test_images_are_drawn_as_often_as_they_have_positions():
    images = [(np.zeros((20, 20), np.uint8),), (np.ones((20, 39), np.uint8),)]  # 1 and 20 positions of 20x20
    drawn = patches.Patches.of(images, 20).draw(2000, (3, 4))
    assert drawn.numpy()[:, 0, 0, 0].mean() == pytest.approx(20 / 21, abs=0.02)


def test_small_images_are_refused():
    with pytest.raises(ValueError, match="at least 40x40"):
        patches.Patches.of([(np.zeros((30, 50)),)], 40)


def test_luminance_against_scikit_image():
    image = RNG.integers(0, 256, (9, 8, 3), np.uint8)
    expected = skimage.color.rgb2ycbcr(image)[..., 0] / 255.0
    np.testing.assert_allclose(data.luminance(image), expected, atol=1e-6)
    np.testing.assert_allclose(data.luminance(image[..., 0]), image[..., 0] / 255.0)


def test_bicubic_keeps_a_ramp_and_a_constant():
    ramp = np.tile(np.linspace(0, 1, 24, dtype=np.float32), (24, 1))
    small = data.bicubic(ramp, (12, 12))
    np.testing.assert_allclose(small[6, 3:9], ramp[0].reshape(12, 2).mean(1)[3:9], atol=1e-5)
    np.testing.assert_allclose(data.bicubic(np.full((10, 10), 0.3, np.float32), (30, 30)), 0.3, atol=1e-6)


def test_pairs_of_super_resolution_fit_the_scale():
    low, high = data.low_and_high(RNG.random((31, 32)).astype(np.float32), 3)
    assert low.shape == high.shape == (30, 30)


def test_test_noise_is_always_the_same():
    (a, target), _ = tasks.Denoising().pairs(IMAGES)
    (b, _), _ = tasks.Denoising().pairs(IMAGES)
    np.testing.assert_array_equal(a, b)
    assert (a - target).std() == pytest.approx(25 / 255, rel=0.05)


def test_quality_is_measured_as_the_field_does():
    """By hand: 8-bit storage for denoising, shaved borders for super-resolution."""
    output, target = np.full((6, 6), 0.5004, np.float32), np.full((6, 6), 1.0, np.float32)
    stored, same = tasks.Denoising().comparable(output, target)
    np.testing.assert_allclose(stored, 128 / 255)
    assert same is target
    assert tasks.SuperResolution().comparable(output + 1, target, 2)[0].tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_colour_patches_keep_their_channels_together():
    image = RNG.integers(0, 256, (60, 60, 3), np.uint8)
    X, Y = next(iter(tasks.Denoising(sigma=0, channels=3).batches([image], seed=1, batch_size=4, size=16)(0)))
    assert X.shape == Y.shape == (4, 16, 16, 3)
    # Grey levels of the three channels at one pixel stand together somewhere in the image.
    pixels = {tuple(p) for p in image.reshape(-1, 3)}
    full_size = [p for p in np.uint8(np.round(Y.numpy() * 255)).reshape(4, -1, 3) if all(tuple(c) in pixels for c in p)]
    assert full_size  # patches of the unscaled image; the others are resampled


def test_small_and_large_patches_fit():
    ramp = np.add.outer(np.arange(48.0), 0.5 * np.arange(48.0)) / 80.0
    pairs = [(ramp[::2, ::2, None], np.stack([ramp, ramp, ramp], -1))]
    X, Y = next(iter(data.pair_batches(pairs, seed=1, batch_size=5, size=8, scale=2)(0)))
    assert X.shape == (5, 8, 8, 1) and Y.shape == (5, 16, 16, 3)
    np.testing.assert_allclose(Y[:, ::2, ::2, 1], X[..., 0], atol=1e-3)
    np.testing.assert_allclose(Y[:, 1::2, ::2, 0] - X[..., 0], 1 / 80, atol=2e-3)  # the row below


def test_examples_are_what_the_pairs_say():
    before = RNG.integers(0, 256, (20, 20), np.uint8)
    X, Y = next(iter(tasks.Examples().batches([(before, 255 - before)], seed=0, batch_size=3, size=12)(0)))
    np.testing.assert_allclose(X + Y, 1.0, atol=1e-3)


def test_small_inputs_of_super_resolution():
    image = RNG.integers(0, 256, (41, 40, 3), np.uint8)
    task = tasks.SuperResolution(scales=(2,), channels=3, small=True)
    ((small, high),) = task.pairs([image], 2)
    assert small.shape == (20, 20, 3) and high.shape == (40, 40, 3)
    X, Y = next(iter(task.batches([image], seed=0, batch_size=2, size=10)(0)))
    assert X.shape == (2, 10, 10, 3) and Y.shape == (2, 20, 20, 3)
    with pytest.raises(ValueError, match="one scale"):
        tasks.SuperResolution(small=True).batches([image], seed=0, batch_size=2, size=10)


PACKAGE = Path(tasks.__file__).parent


def test_every_draw_names_its_algorithm():
    """TensorFlow's own choice may differ between devices; the same seed shall be the same patches everywhere."""
    draws = [(path, call) for path in PACKAGE.rglob("*.py") for call in ast.walk(ast.parse(path.read_text()))
             if isinstance(call, ast.Call) and ast.unparse(call.func).startswith("tf.random.")]
    assert len(draws) >= 7
    for path, call in draws:
        assert {k.arg: ast.unparse(k.value) for k in call.keywords}.get("alg") == "'philox'", f"{path}:{call.lineno}"


@pytest.mark.parametrize("seed", [(0, 0), (1, 2**40), (-3, 7)])
def test_the_algorithm_is_what_a_cpu_chose_before(seed):
    """Marks and records of before the choice was pinned: the same bits."""
    with tf.device("CPU"):
        for draw in (tf.random.stateless_normal, tf.random.stateless_uniform,
                     lambda *a, **k: tf.random.stateless_uniform(*a, **k, dtype=tf.float64),
                     lambda *a, **k: tf.random.stateless_uniform(*a, **k, maxval=256, dtype=tf.int32),
                     lambda shape, seed, **k: tf.random.split(seed, 10, **k)):
            np.testing.assert_array_equal(draw([3, 5], seed, alg="philox"), draw([3, 5], seed))


def test_patches_are_those_of_before():
    """Digests of three batches, made when images were uint8 only and draws chose their algorithm by themselves."""
    images = [np.uint8(np.add.outer(np.arange(41) * 3, np.arange(60) * 2)),
              np.uint8(np.outer(np.arange(50), np.arange(45)) % 251)]
    for task, expected in ((tasks.Denoising(sigma=0), "da06216cd40f"), (tasks.Examples(), "1ae7f51c04cf"),
                           (tasks.Denoising(sigma=0, channels=3), "4e46f0877601")):
        digest = hashlib.sha256()
        these = [(image, 255 - image) for image in images] if task == tasks.Examples() else images
        for batch in task.batches(these, seed=5, batch_size=7, size=40)(3).take(3):
            for part in batch:
                digest.update(np.uint8(np.round(part.numpy() * 255)).tobytes())
        assert digest.hexdigest()[:12] == expected


@pytest.mark.parametrize("task", [tasks.Denoising(), tasks.SuperResolution(), tasks.Examples(),
                                  tasks.SuperResolution((2,), 3, small=True)])
def test_patches_are_built_once(task, monkeypatch):
    """Counted by hand: other seeds, noise and copies of the images share them, other sizes and pixels do not."""
    built = []
    of = patches.Patches.of
    monkeypatch.setattr(patches.Patches, "of", lambda *args: built.append(1) or of(*args))
    images = [RNG.integers(0, 256, (60, 50), np.uint8) for _ in range(2)]

    def make(seed=0, size=16):
        these = [(image, image) for image in images] if isinstance(task, tasks.Examples) else images
        return task.batches(these, seed=seed, batch_size=2, size=size)

    once = make()
    make(seed=1)
    images = [image.copy() for image in images]
    for a, b in zip(_first(make()), _first(once), strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(built) == 1
    make(size=12)
    assert len(built) == 2
    images[1][3, 4] ^= 1
    make()
    assert len(built) == 3


def test_kept_patches_are_bounded(monkeypatch):
    """The last ones stay, within so many bytes; what alone is larger is made each time."""
    kept = patches._patches.cache
    assert kept.maxsize == patches.KEPT <= 2 << 30
    small = cachetools.LRUCache(10_000, getsizeof=kept.getsizeof)
    monkeypatch.setattr(patches, "_patches", cachetools.cached(small, key=patches._pixels_of)(
        patches._patches.__wrapped__))
    for i in range(5):
        tasks.Denoising().batches([np.full((40, 40), i, np.uint8)], seed=0, batch_size=2, size=40)
        assert small.currsize == 1600 * (i + 1)
    tasks.Denoising().batches([np.zeros((80, 80), np.uint8)], seed=0, batch_size=2, size=80)
    assert small.currsize <= 10_000 and len(small) == 3
    tasks.Denoising().batches([np.zeros((120, 120), np.uint8)], seed=0, batch_size=2, size=120)
    assert len(small) == 3


GOOD = np.uint8(np.add.outer(np.arange(24), np.arange(20)) * 5)
BAD = {"floats on 0..255": np.float32(GOOD), "uint16": GOOD.astype(np.uint16) * 257,
       "NaN": np.where(GOOD > 9, 0.5, np.nan), "floats on [-1, 1]": GOOD / 127.5 - 1, "bool": GOOD > 90,
       "complex": GOOD / 255 + 0j, "2 channels": np.dstack([GOOD] * 2), "a batch": GOOD[None, ..., None],
       "nothing": GOOD[:0]}
TAKERS = [tasks.Denoising(), tasks.Denoising(channels=3), tasks.SuperResolution((2,)), tasks.SuperResolution((2,), 3),
          tasks.Examples(), tasks.Examples(3)]


def _given(task, image):
    return (GOOD, image) if isinstance(task, tasks.Examples) else image


@pytest.mark.parametrize("image", BAD.values(), ids=list(BAD))
@pytest.mark.parametrize("task", TAKERS, ids=range(len(TAKERS)))
def test_pixels_that_would_be_cut_are_refused(task, image):
    """In training and evaluation alike: by the documented range, uint8 or floats on [0, 1]."""
    with pytest.raises(data.DataError, match=r"^expected .*, got an array .*; \w+[^\n]*$"):
        task.batches([_given(task, GOOD), _given(task, image)], seed=0, batch_size=2, size=8)
    with pytest.raises(data.DataError, match="expected"):
        inference.evaluate(lambda x: x, task, [_given(task, image)])


@pytest.mark.parametrize("task", TAKERS, ids=range(len(TAKERS)))
@pytest.mark.parametrize("form", [lambda u: u[..., None], lambda u: u / 255, lambda u: np.float32(u / 255)[..., None]],
                         ids=["HW1", "float64", "float32 HW1"])
def test_the_same_pixels_in_any_form_are_the_same_batch(task, form):
    one, other = (_first(task.batches([_given(task, image)], seed=0, batch_size=2, size=8))
                  for image in (GOOD, form(GOOD)))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, atol=2 / 255)  # Pillow resizes in 8 bits
    (a,), (b,) = (inference.evaluate(lambda x: 0.9 * x, task, [_given(task, image)]) for image in (GOOD, form(GOOD)))
    assert a == pytest.approx(b)


def test_noise_of_an_input_is_not_cut():
    """An owner's own noisy inputs leave [0, 1]; the clean targets may not."""
    noisy, clean = data.noisy(np.float32(GOOD / 255), 50, 0), np.float32(GOOD / 255)
    assert noisy.min() < 0.0 or noisy.max() > 1.0
    X, _ = _first(tasks.Examples().batches([(noisy, clean)], seed=0, batch_size=64, size=8))
    assert X.min() == pytest.approx(noisy.min(), abs=0.1) and X.max() == pytest.approx(noisy.max(), abs=0.1)
    assert inference.evaluate(lambda x: x, tasks.Examples(), [(noisy, clean)])[0] < 20.0
    with pytest.raises(data.DataError, match="expected"):
        tasks.Examples().batches([(clean, noisy)], seed=0, batch_size=1, size=8)


def test_pixels_off_by_a_rounding_are_taken():
    white = np.full((12, 12), 1 + 5e-7, np.float32)
    _, Y = _first(tasks.Denoising(0).batches([white, -white + np.float32(1)], seed=0, batch_size=8, size=12))
    assert set(np.unique(Y)) == {0.0, 1.0}


@pytest.mark.parametrize("sigma", [float("nan"), -25, float("inf")])
def test_noise_has_a_standard_deviation(sigma):
    for make in (tasks.Denoising, lambda sigma: data.noisy(GOOD / 255, sigma, 0),
                 lambda sigma: data.denoising_batches([GOOD], seed=0, batch_size=1, size=8, sigma=sigma)):
        with pytest.raises(ValueError, match="0 or more, got sigma="):
            make(sigma)


def test_a_target_of_another_size_is_refused():
    with pytest.raises(data.DataError, match=r"a target of 1 times the input's \[24, 20\] pixels, got \[24, 18\]"):
        tasks.Examples().batches([(GOOD, GOOD[:, :18])], seed=0, batch_size=1, size=8)
