"""Image quality, and the paper's distances. Pure functions of one pair of images; the caller averages."""

from __future__ import annotations

import numpy as np
from scipy import fft, stats

PIXELS_PER_DEGREE = 32.0


def _same_shape(a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"expected two images of one shape, got {a.shape} and {b.shape}")
    return a, b


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of two images on [0, 1]; infinite for equal ones.

    >>> psnr(np.zeros((2, 2)), np.full((2, 2), 0.1))
    20.0
    """
    a, b = _same_shape(a, b)
    with np.errstate(divide="ignore"):
        return float(-10.0 * np.log10(np.mean(np.square(a - b))))


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity of two images [H, W] or [H, W, 1] on [0, 1], at least 11x11.

    Gaussian window 11x11 of deviation 1.5, K1 = .01, K2 = .03, averaged where the window fits whole:
    Wang et al., Image Quality Assessment, TIP 2004, as its authors' ssim.m computes it.
    """
    from skimage.metrics import structural_similarity  # not at the top: hosts are trained without it

    a, b = (np.squeeze(image) for image in _same_shape(a, b))
    if a.ndim != 2 or min(a.shape) < 11:
        raise ValueError(f"expected one channel and at least 11x11 pixels, got shape {a.shape}")
    return float(structural_similarity(a, b, data_range=1.0, gaussian_weights=True, sigma=1.5,
                                       use_sample_covariance=False))


def wpsnr(a: np.ndarray, b: np.ndarray) -> float:
    """PSNR in dB with the error weighted by the eye's contrast sensitivity.

    The sensitivity is that of Mannos and Sakrison (IEEE Trans. Inf. Theory 20, 1974),
    2.6 (.0192 + .114 f) exp(-(.114 f)^1.1), f in cycles per degree, for an image seen at 32 pixels a degree. The
    paper does not say which weighting it uses; its 62 values lie 6.99 to 7.19 dB above PSNR, which no
    weighting that depends on the spectrum gives.
    """
    a, b = (np.squeeze(image) for image in _same_shape(a, b))
    if a.ndim != 2:
        raise ValueError(f"expected one channel [H, W] or [H, W, 1], got shape {a.shape}; take the channels one by one")
    rows, columns = (fft.fftfreq(side) * PIXELS_PER_DEGREE for side in a.shape)
    f = np.hypot(rows[:, None], columns)
    sensitivity = 2.6 * (0.0192 + 0.114 * f) * np.exp(-((0.114 * f) ** 1.1))
    error = fft.ifft2(fft.fft2(a - b) * sensitivity).real
    with np.errstate(divide="ignore"):
        return float(-10.0 * np.log10(np.mean(np.square(error))))


def rmse(a: np.ndarray, b: np.ndarray) -> float:
    """Root of the mean squared difference of two images."""
    a, b = _same_shape(a, b)
    return float(np.sqrt(np.mean(np.square(a - b))))


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Eq. (8): d = ||a - b||_2 / (MN), which is RMSE / sqrt(MN) for one channel. Images as they are, not stretched.

    >>> distance(np.zeros((2, 2)), np.ones((2, 2)))   # a norm of 2 over 4 pixels
    0.5
    """
    a, b = _same_shape(a, b)
    return float(np.linalg.norm(a - b) / a.size)


def ncc(a: np.ndarray, b: np.ndarray) -> float:
    """Normalised correlation sum(ab) / sqrt(sum(a^2) sum(b^2)), means not removed; 0 if an image is all zero.

    >>> round(ncc(np.array([[1.0, 2.0]]), np.array([[2.0, 4.0]])), 9)
    1.0
    """
    a, b = _same_shape(a, b)
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return float(np.sum(a * b) / norms) if norms else 0.0


def threshold(n: int, p: float = 0.05, sigma: float = 0.25) -> float:
    """The paper's eta for a verification image of n pixels (section IV-C).

    >>> f"{threshold(40 * 40):.2e}"   # the paper's value
    '6.07e-03'

    The squared error of n pixels of noise N(0, sigma^2) is about N(n sigma^2, 2 n sigma^4); it stays below beta
    with probability p, and eta = sqrt(beta) / n. threshold(1600) = 6.07e-3, the paper's value.
    """
    if n < 1 or not 0.0 < p < 1.0 or sigma <= 0.0:
        raise ValueError(f"expected n >= 1, 0 < p < 1 and sigma > 0, got n={n}, p={p}, sigma={sigma}")
    beta = n * sigma**2 + stats.norm.ppf(p) * np.sqrt(2.0 * n) * sigma**2
    return float(np.sqrt(max(beta, 0.0)) / n)
