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


def test_ssim_by_hand():
    """Wang et al.'s formula in each place where the 11x11 window fits whole, as ssim.m has it; the mean of those."""
    noisy = np.clip(A + 0.1 * B, 0, 1)
    side = np.exp(-np.arange(-5, 6) ** 2 / (2 * 1.5**2))
    window = np.outer(side, side) / np.sum(np.outer(side, side))
    c1, c2, found = 0.01**2, 0.03**2, []
    for i, j in np.ndindex(33 - 10, 47 - 10):
        a, b = (image[i:i + 11, j:j + 11] for image in (A, noisy))
        mean_a, mean_b = np.sum(window * a), np.sum(window * b)
        var_a, var_b = np.sum(window * (a - mean_a) ** 2), np.sum(window * (b - mean_b) ** 2)
        covariance = np.sum(window * (a - mean_a) * (b - mean_b))
        found.append((2 * mean_a * mean_b + c1) * (2 * covariance + c2)
                     / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)))
    assert metrics.ssim(A, noisy) == pytest.approx(np.mean(found), abs=1e-10)
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
    assert metrics.wpsnr(flat, flat + visible.T) == pytest.approx(expected)


@pytest.mark.parametrize("sides", [(64, 64), (48, 64), (64, 48)])
def test_wpsnr_weighs_both_directions(sides):
    """By hand: 8 cycles a degree down and 6 across are 10."""
    down, across = np.ogrid[:sides[0], :sides[1]]
    wave = 0.1 * np.sin(2 * np.pi * (8 * down + 6 * across) / 32)  # pixels a degree; whole periods of 4 and 16
    weight = 2.6 * (0.0192 + 0.114 * 10) * np.exp(-((0.114 * 10) ** 1.1))
    flat = np.full(sides, 0.5)
    expected = metrics.psnr(flat, flat + wave) - 20 * np.log10(weight)
    assert metrics.wpsnr(flat, flat + wave) == pytest.approx(expected)


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
