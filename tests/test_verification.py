"""Suspects made for the purpose, whose verdict is known."""

import numpy as np
import pytest

from watermark import hosts, inference, keys, metrics, verification

KEY = keys.make_key("owner", size=16)


def _asks(gain, only=None):
    """A suspect that moves a trigger `gain` of the way to G(K); with `only`, that trigger alone."""

    def suspect(triggers):
        answers = []
        for K in triggers:
            marked = only is None or np.array_equal(K, only)
            answers.append(K + gain * (KEY.kind.generate(K) - K) if marked else K)
        return np.stack(answers)

    return suspect


def test_perfect_mark():
    verdict = verification.verify(_asks(1.0, KEY.trigger), KEY, null_keys=99)
    assert verdict.within_threshold and verdict.ncc_verified
    assert verdict.distance == pytest.approx(0.0, abs=1e-8) and verdict.rho == pytest.approx(1.0)
    assert verdict.p_value == pytest.approx(1 / 100)


def test_no_mark():
    verdict = verification.verify(lambda images: images, KEY, null_keys=99)
    assert not verdict.within_threshold and not verdict.ncc_verified and verdict.p_value == 1.0
    assert verdict.distance == pytest.approx(metrics.distance(KEY.trigger, KEY.initial))
    assert verdict.rmse == pytest.approx(verdict.distance * 16)
    assert verdict.threshold == metrics.threshold(256)


def test_a_suspect_that_smooths_every_trigger_alike_is_no_evidence():
    # It answers every key with its own G(K), so d passes; the rank among fresh keys tells that it knows none.
    verdict = verification.verify(_asks(1.0), KEY, null_keys=99)
    assert verdict.within_threshold and verdict.p_value > 0.01


def test_weak_mark_fails_eta_and_shows_in_the_rank():
    def suspect(triggers):
        noise = np.random.default_rng(0).normal(0, 0.5, triggers.shape)
        return _asks(0.5, KEY.trigger)(triggers) + noise

    verdict = verification.verify(suspect, KEY, null_keys=999)
    assert not verdict.within_threshold and verdict.p_value == pytest.approx(1e-3)


def test_a_single_query_claims_no_rank():
    calls = []

    def suspect(images):
        calls.append(len(images))
        return images

    assert verification.verify(suspect, KEY, null_keys=0).p_value == 1.0
    assert calls == [1]


def test_p_values_are_uniform_for_keys_the_suspect_never_saw():
    rng = np.random.default_rng(1)

    def suspect(triggers):
        return triggers + rng.normal(0, 1, triggers.shape)

    p = [verification.verify(suspect, keys.make_key(i, size=8), null_keys=19).p_value for i in range(200)]
    assert np.mean(np.array(p) <= 0.25) == pytest.approx(0.25, abs=0.1)


@pytest.mark.parametrize(("suspect", "match"), [
    (lambda images: images[:, :-1], "shape"),
    (lambda images: images * np.nan, "NaN"),
])
def test_bad_answers(suspect, match):
    with pytest.raises(verification.SuspectError, match=match):
        verification.verify(suspect, KEY)


def test_bad_suspects_and_images():
    with pytest.raises(TypeError, match="callable"):
        verification.verify("model.keras", KEY)
    model = hosts.vdsr(depth=3, filters=4)
    with pytest.raises(ValueError, match="any, any, 1"):
        verification.verify(model, keys.make_key(1, size=16, channels=3))
    with pytest.raises(ValueError, match="any, any, 1"):
        inference.predictor(model)(np.zeros((5, 5)))
    with pytest.raises(ValueError, match="NaN"):
        inference.predictor(model)(np.full((1, 5, 5, 1), np.nan))
