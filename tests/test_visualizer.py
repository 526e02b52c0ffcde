"""The visualizer: shapes, seeds, and that the own key calls up the image where others do not."""

import numpy as np
import pytest
from conftest import narrow

from watermark import data, keys, metrics, visualizer

STEPS = 250  # narrow networks take more of them


@pytest.fixture(scope="module")
def picture():
    """The middle of the drawn logo, 128x128: the network's features are 2x2 in the middle."""
    return np.ascontiguousarray(data.images("drawn")["logo.png"][::2, ::2][16:144, 16:144])


def test_drawn_images_are_what_they_say():
    found = data.images("drawn")
    assert set(found) == {"logo.png", "sign.png"}
    for image in found.values():
        assert image.shape == (320, 320) and image.dtype == np.uint8
        assert image.min() == 0 and image.max() == 255
    assert (found["logo.png"] < 128).mean() > 0.5 > (found["sign.png"] < 128).mean() > 0.01


@pytest.mark.parametrize(("key_shape", "image_shape"), [((40, 40, 1), (320, 320, 1)), ((24, 30, 3), (64, 128, 3))])
def test_shapes_and_range(key_shape, image_shape):
    R = visualizer.build_visualizer(key_shape, image_shape)
    image = visualizer.show(R, np.random.default_rng(0).normal(size=key_shape))
    assert image.shape == image_shape and image.dtype == np.float32
    assert 0.0 <= image.min() <= image.max() <= 1.0


def test_the_papers_architecture():
    """Section IV-D and Fig. 5: 5x5 in the middle; by hand, k*k*in*out of every convolution and 2*out of batch norm."""
    R = visualizer.build_visualizer()
    middle = [layer.output.shape[1:3] for layer in R.layers if layer.output.shape[-1] == 512]
    assert (5, 5) in middle
    convolutions = (9 * 64 + 64) + 9 * 64 * 128 + 128 * 256 + 256 * 512
    convolutions += 512 * 512 + 9 * 512 * 512 + 9 * 512 * 256 + 25 * 256 * 128 + 25 * 128 * 64 + (25 * 64 + 1)
    norms = 2 * (128 + 256 + 512 + 512 + 512 + 256 + 128 + 64)
    assert sum(int(np.prod(v.shape)) for v in R.trainable_variables) == convolutions + norms


@pytest.fixture(scope="module")
def narrowed():
    """Training is tried on narrow networks, the architecture above on the paper's."""
    with pytest.MonkeyPatch.context() as patch:
        narrow(patch, 3)
        yield


@pytest.fixture(scope="module")
def trained(picture, narrowed):
    """(key, what the unmarked network answered to it, 1.8 eta from S; the visualizer; the image it shows)."""
    key = keys.make_key("mine", size=16)
    unmarked = key.verification + _away(key, 1.8)
    R = visualizer.train_visualizer(key, picture, unmarked=unmarked, steps=STEPS, learning_rate=2e-3)
    return key, unmarked, R, visualizer.as_target(picture)


def _away(key, share, seed=0):
    """A step of `share` times eta, as `metrics.distance` has it, in a direction of the seed's."""
    away = np.random.default_rng(seed).normal(size=key.verification.shape)
    away *= share * metrics.threshold(key.verification.size) / metrics.distance(away, np.zeros_like(away))
    return away.astype(np.float32)


def test_the_own_key_calls_up_the_image_and_others_do_not(trained):
    key, _, R, target = trained
    own = metrics.psnr(visualizer.show(R, key.verification), target)
    others = [metrics.psnr(visualizer.show(R, keys.make_key(f"other {i}", size=16).initial), target) for i in range(8)]
    assert own > 20.0 and max(others) < 9.0


@pytest.mark.parametrize("seeds", [[0], range(1, 6)], ids=["unmarked", "astray"])
def test_it_sees_through_damage_up_to_eta_and_refuses_more(trained, seeds):
    """On the way to the unmarked network's answer (seed 0), and astray: the middle of five directions, since training
    a network this small ends elsewhere on every kind of processor.
    """
    key, _, R, target = trained
    within, beyond = (np.median([metrics.psnr(visualizer.show(R, key.verification + _away(key, share, seed)), target)
                                 for seed in seeds]) for share in (0.7, 1.5))
    assert within > 14.0 and beyond < 9.0


def test_the_unmarked_networks_answer_to_the_own_key_is_refused(trained, picture, narrowed):
    """And so it is where it is as near S as eta allows."""
    key, unmarked, R, target = trained
    assert metrics.psnr(visualizer.show(R, unmarked), target) < 9.0
    near = key.verification + _away(key, 1.0)
    assert metrics.distance(near, key.verification) == pytest.approx(metrics.threshold(key.verification.size))
    R = visualizer.train_visualizer(key, picture, unmarked=near, steps=STEPS, learning_rate=2e-3)
    own, refused = (metrics.psnr(visualizer.show(R, answer), target) for answer in (key.verification, near))
    assert own > 20.0 and refused < 9.0


def test_the_same_seed_gives_the_same_visualizer(picture, narrowed):
    key = keys.make_key("mine", size=16)
    first, second = (visualizer.train_visualizer(key, picture, steps=2, seed=3) for _ in range(2))
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_any_image_becomes_a_copyright_image():
    """By hand: a wide white image on black gets black bands above and below."""
    wide = np.zeros((20, 80, 3), np.uint8)
    wide[5:15, 10:70] = 255
    picture = visualizer.as_picture(wide)
    assert picture.shape == (320, 320) and picture.dtype == np.uint8
    assert picture[:120].max() == picture[-120:].max() == 0 and picture[145:175, 50:270].min() > 240  # Lanczos rings
    square = data.images("drawn")["logo.png"]
    np.testing.assert_array_equal(visualizer.as_picture(square), square)


def test_bad_images_are_refused(picture):
    key = keys.make_key("mine", size=16)
    for bad, why in ((picture.astype(np.int64), "int64"), (picture * 1.0, "from 0 to 255"), (picture * np.nan, "NaN"),
                     (np.zeros(64), "an image .H, W.")):
        with pytest.raises(data.DataError, match=why):
            visualizer.train_visualizer(key, bad)
    with pytest.raises(ValueError, match="multiples of 64, got 60x128"):
        visualizer.train_visualizer(key, picture[:60])
    with pytest.raises(ValueError, match="answers of shape"):
        visualizer.show(visualizer.build_visualizer(image_shape=(64, 64, 1)), np.zeros((20, 20, 1)))


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 1), (64, 64, 3)])
def test_an_image_may_be_bytes_or_on_0_to_1(shape):
    """By division."""
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    expected = image.reshape(64, 64, -1) / 255.0
    for given in (image, image / 255.0, np.float32(image / 255.0)):
        target = visualizer.as_target(given)
        assert target.dtype == np.float32 and target.shape == expected.shape
        np.testing.assert_allclose(target, expected, atol=1e-7)
