"""Oracles: scikit-image, numpy, by hand, and the paper's threshold."""

import numpy as np
import pytest
import skimage.metrics

from watermark import metrics

RNG = np.random.default_rng(0)
A, B = RNG.random((33, 47)), RNG.random((33, 47))


def test_psnr_against_scikit_image():
    assert metrics.psnr(A, B) == pytest.approx(skimage.metrics.peak_signal_noise_ratio(A, B, data_range=1.0))
    assert metrics.psnr(A, A) == np.inf


def test_ssim_against_scikit_image():
    noisy = np.clip(A + 0.1 * B, 0, 1)
    # scikit-image averages over the whole image less a border of (11 - 1) / 2, as ssim.m does.
    expected = skimage.metrics.structural_similarity(A, noisy, data_range=1.0, gaussian_weights=True, sigma=1.5,
                                                     use_sample_covariance=False)
    assert metrics.ssim(A, noisy) == pytest.approx(expected, abs=1e-10)
    assert metrics.ssim(A[..., None], A[..., None]) == pytest.approx(1.0)


def test_wpsnr_weighs_what_the_eye_sees():
    x = np.arange(64)
    visible, fine = (np.tile(0.1 * np.sin(2 * np.pi * cycles * x / 64), (64, 1)) for cycles in (16, 31))
    flat = np.full((64, 64), 0.5)
    assert metrics.psnr(flat, flat + visible) == pytest.approx(metrics.psnr(flat, flat + fine), abs=0.01)
    assert metrics.wpsnr(flat, flat + visible) < metrics.wpsnr(flat, flat + fine) - 2.0
    # By hand: 8 cycles per degree, sensitivity 2.6 (.0192 + .912) exp(-.912^1.1).
    weight = 2.6 * (0.0192 + 0.114 * 8) * np.exp(-((0.114 * 8) ** 1.1))
    expected = metrics.psnr(flat, flat + visible) - 20 * np.log10(weight)
    assert metrics.wpsnr(flat, flat + visible) == pytest.approx(expected)


def test_distance_by_hand():
    a, b = np.zeros((2, 3)), np.full((2, 3), 2.0)
    assert metrics.distance(a, b) == pytest.approx(np.sqrt(24) / 6)
    assert metrics.distance(a, b) == pytest.approx(metrics.rmse(a, b) / np.sqrt(6))


def test_threshold_is_the_papers():
    assert round(metrics.threshold(1600), 5) == 6.07e-3
    draws = np.random.default_rng(1).normal(0, 0.25, (20_000, 1600))
    share = np.mean(np.linalg.norm(draws, axis=1) / 1600 <= metrics.threshold(1600))
    assert share == pytest.approx(0.05, abs=0.006)  # what the threshold means, by simulation


def test_ncc_by_hand():
    assert metrics.ncc([1.0, 2.0], [2.0, 4.0]) == pytest.approx(1.0)
    assert metrics.ncc([1.0, 0.0], [0.0, 3.0]) == 0.0
    assert metrics.ncc([0.0, 0.0], [0.0, 3.0]) == 0.0


@pytest.mark.parametrize("metric", [metrics.psnr, metrics.ssim, metrics.wpsnr, metrics.distance, metrics.ncc])
def test_shapes_must_agree(metric):
    with pytest.raises(ValueError, match="one shape"):
        metric(A, A[:, :-1])


def test_threshold_refuses_nonsense():
    for bad in ({"n": 0}, {"n": 5, "p": 1.0}, {"n": 5, "sigma": 0.0}):
        with pytest.raises(ValueError, match="expected"):
            metrics.threshold(**bad)


def test_wpsnr_takes_one_channel():
    image = np.random.default_rng(0).random((12, 12, 3))
    with pytest.raises(ValueError, match=r"one channel .* got shape \(12, 12, 3\)"):
        metrics.wpsnr(image, image)
    assert np.isfinite(metrics.wpsnr(image[..., :1], image[..., 1:2]))
