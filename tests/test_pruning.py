"""By hand, and at the extremes."""

import keras
import numpy as np
import pytest
from keras import layers

from watermark import hosts
from watermark.attacks import prune


def _one_kernel(values):
    model = keras.Sequential([keras.Input((4, 4, 1)), layers.Conv2D(len(values), 1)])
    model.set_weights([np.reshape(np.float32(values), (1, 1, 1, -1)), np.ones(len(values), np.float32)])
    return model


def test_the_smallest_go_and_ties_go_by_index():
    kernel, bias = prune(_one_kernel([3, -1, 1, -2, 1, 0.5]), 0.5).get_weights()
    np.testing.assert_array_equal(kernel.ravel(), [3, 0, 0, -2, 1, 0])
    np.testing.assert_array_equal(bias, np.ones(6))


@pytest.mark.parametrize(("rate", "count"), [(0.0, 0), (0.35, 7), (0.34, 6), (1.0, 20)])
def test_count(rate, count):
    kernel, _ = prune(_one_kernel(np.arange(1, 21)), rate).get_weights()
    assert np.sum(kernel == 0) == count


def test_each_kernel_loses_its_own_share_and_norms_are_exempt():
    model = hosts.dncnn(depth=4, filters=8)
    pruned = prune(model, 0.25)
    for before, after in zip(model.variables, pruned.variables, strict=True):
        zeros = int(np.sum(np.asarray(after) == 0) - np.sum(np.asarray(before) == 0))
        assert zeros == (int(0.25 * before.numpy().size) if before.path.endswith("kernel") else 0)


def test_what_its_owner_froze_is_pruned_too():
    model = _one_kernel([3, -1, 1, -2, 1, 0.5])
    model.trainable = False
    assert np.sum(prune(model, 0.5).get_weights()[0] == 0) == 3


def test_rate_outside_the_range_is_refused():
    for rate in (-0.1, 1.1):
        with pytest.raises(ValueError, match="rate"):
            prune(_one_kernel([1.0]), rate)
