"""Suspects made for the purpose, whose verdict is known."""

import statistics

import numpy as np
import pytest
from scipy import stats

from watermark import (
    evidence,
    hosts,
    inference,
    interrogation,
    judgement,
    keys,
    metrics,
    ports,
    questions,
    verification,
)
from watermark.kinds import Kind

KEY = keys.make_key("a secret", size=16, owner="owner")


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

    verdict = verification.verify(suspect, KEY, null_keys=999, fresh_seed="0")  # of others, some rank it second
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

    p = [verification.verify(suspect, keys.make_key(i, size=8), null_keys=19, fresh_seed=f"{i}").p_value
         for i in range(200)]
    assert np.mean(np.array(p) <= 0.25) == pytest.approx(0.25, abs=0.1)


@pytest.mark.parametrize(("suspect", "match"), [
    (lambda images: images[:, :4], "shape"),
    (lambda images: images * np.nan, "NaN"),
])
def test_bad_answers(suspect, match):
    with pytest.raises(ports.SuspectError, match=match):
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


# --- the evidence rule ------------------------------------------------------------------------------------------------


def test_rank_and_rule_by_hand():
    spread, same = np.linspace(0, 0.5, 20), np.full(20, 0.2)
    assert evidence.rank(0.9, spread, 1e9) == (0, 20, pytest.approx((0.9 - 0.25) / statistics.stdev(spread)))
    assert evidence.rank(0.5, spread, 1e9)[0] == 1  # which is reached by its equal
    assert evidence.rank(0.9, same, 400)[2] == pytest.approx(0.7 / (0.85 * (1 - 0.2**2) / 20))  # the floor
    assert evidence.numbers(np.eye(1, 100)[0], 100) == pytest.approx(0.0937, rel=1e-3)
    noise = np.random.default_rng(0).standard_normal((128, 128, 1))
    assert evidence.numbers(noise, 256) == pytest.approx(4 * 256, rel=0.02)
    assert evidence.numbers(noise, 128 * 128) == pytest.approx(128 * 128, rel=0.02)
    assert evidence.passes(0.1, 0, 20, 50.0, 50.0)
    for short in ((0.0999, 0, 20, 50.0, 50.0), (0.1, 1, 20, 50.0, 50.0), (0.1, 0, 19, 50.0, 50.0),
                  (0.1, 0, 20, 49.9, 50.0)):
        assert not evidence.passes(*short)
    assert evidence.clopper_pearson(0, 1000) == (0.0, 0.0, pytest.approx(1 - 0.025 ** (1 / 1000)))
    assert evidence.clopper_pearson(1000, 1000) == (1.0, pytest.approx(0.025 ** (1 / 1000)), 1.0)


@pytest.mark.parametrize("null_keys", [2, 5, 20])
def test_the_bar_is_reached_as_often_as_it_says(null_keys):
    """Oracle: a simulation of normal rho, at a rate that can be counted."""
    rng = np.random.default_rng(0)
    null, own = rng.normal(0.2, 0.03, (100_000, null_keys)), rng.normal(0.2, 0.03, 100_000)
    z = (own - null.mean(1)) / null.std(1, ddof=1)
    assert np.mean(z >= evidence.z_needed(null_keys, rate=1e-2)) == pytest.approx(1e-2, abs=2e-3)


def test_few_fresh_keys_never_find():
    for null_keys, found in ((0, False), (1, False), (5, False), (19, False), (20, True)):
        verdict = verification.verify(_asks(1.0, KEY.trigger), KEY, null_keys=null_keys)
        assert verdict.evident == found and verdict.within_threshold


def test_fresh_keys_are_the_verifiers_and_can_be_had_again():
    def suspect(images):
        return images * 0.9

    once, twice = (verification.verify(suspect, KEY, null_keys=20) for _ in range(2))
    assert once.fresh_seed != twice.fresh_seed and once.z_score != twice.z_score
    again = verification.verify(suspect, KEY, null_keys=20, fresh_seed=once.fresh_seed)
    assert again == once
    assert interrogation.null_label(KEY) not in (once.fresh_seed, twice.fresh_seed)


def _hot_pixels(images, above=1.0 - 2.0**-21):
    """An honest corrector of saturated pixels, which has nothing to do on nearly every key."""
    around = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    mean = (around[:, 2:, 1:-1] + around[:, :-2, 1:-1] + around[:, 1:-1, 2:] + around[:, 1:-1, :-2]) / 4
    return np.where(images >= np.float32(above), mean, images)


@pytest.mark.parametrize(("secret", "above"), [("forger 6678", 1.0 - 2.0**-21), ("forger", 0.9999), ("forger", 0.999)])
def test_a_network_that_hardly_does_anything_is_nobodys(secret, above):
    """The first secret was drawn until K had such a pixel: no fresh key has one, and their rho is 0 to the last."""
    key = keys.make_key(secret, size=16, owner="Mallory")
    verdict = verification.verify(lambda images: _hot_pixels(images, above), key, null_keys=1000, fresh_seed="0")
    assert not verdict.evident and not verdict.near and verdict.z_score < 5
    if above > 0.99999:
        assert key.trigger.max() >= np.float32(above) and verdict.rho > 0 and verdict.p_value == 1 / 1001


@pytest.mark.parametrize("value", [3.0, 1e3, -1e12])
def test_a_pixel_that_a_thief_blows_hides_no_mark(owned, value):
    """Far outside [0, 1], a pixel of every answer is shown as white or black, and would be all that rho is of."""

    def blown(images):
        answers = np.array(owned.marked(images))
        answers[:, 3, 5] = value
        return answers

    assert judgement.judge(blown, owned.key, null_keys=200, fresh_seed="0").found
    stranger = keys.make_key("a stranger's secret", owner="Grace", size=owned.key.trigger.shape[0])
    assert not verification.verify(blown, stranger, null_keys=200, fresh_seed="0").evident


def test_honest_residuals_are_not_bounded(owned):
    residual = owned.key.trigger - np.array(owned.marked(owned.key.trigger[None]))
    np.testing.assert_array_equal(evidence.bounded(residual), residual)
    still = np.zeros((1, 4, 4, 1))
    still[0, 0, 0] = 1.0  # more than half of it is the same number
    np.testing.assert_array_equal(evidence.bounded(still), still)


def test_rare_pixels_reach_the_bar_as_rarely_as_it_says():
    """Oracle: the exact chance, for pixels that each stand out by 2.2 deviations, k of them, k of Poisson's law."""
    for expected in np.geomspace(1e-3, 3.0, 40):
        k = np.arange(60)
        rho = 2.2 * np.sqrt(k) / 16
        chance = stats.poisson.pmf(k, expected)
        mean = np.sum(chance * rho)
        alone = np.sqrt([evidence.numbers(np.arange(256) < pixels, 256) for pixels in k])
        deviation = np.maximum(np.sqrt(np.sum(chance * (rho - mean) ** 2)), evidence.FLOOR * (1 - mean**2) / alone)
        claimed = (rho >= evidence.LEAST_RHO) & ((rho - mean) / deviation >= evidence.z_needed(1000))
        assert stats.poisson.sf(k[claimed].min() - 1, expected) < 1e-12 if claimed.any() else True


def _mixed(images):
    p = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    return np.abs(p[:, 2:, 2:] - p[:, 2:, :-2] - p[:, :-2, 2:] + p[:, :-2, :-2])


def _blocks(images):
    """Where each of six neighbours stands out: a corrector of rare patterns."""
    steep = np.lib.stride_tricks.sliding_window_view(np.abs(_mixed(images) - 0.78) < 0.22, (2, 3), (1, 2))
    found, where = np.zeros(images.shape, bool), np.argwhere(steep.all((-2, -1)))
    for n, i, j, c in where:
        found[n, i:i + 2, j:j + 3, c] = True
    return images - np.float32(0.3) * found


@pytest.mark.parametrize(("kind", "secret", "network"), [
    (Kind("denoise", 16), "1545", _blocks),
    (Kind("denoise", 16, gradient="sobel_xy"), "2101", lambda x: x - np.float32(0.3) * (_mixed(x) > 1.87)),
    (Kind("sr", 16, 8), "306", lambda x: np.stack([
        Kind("sr", 16, 8).base(K) for K in x + np.float32(0.3) * (x > np.float32(1 - 3e-5))])),
], ids=["patterns", "edges", "blown pixels, enlarged"])
def test_who_draws_names_until_rare_places_are_in_k_is_not_found(kind, secret, network):
    """Networks that nobody marked and that change rare places; the secrets were drawn until z passed, by an audit."""
    key = keys.draw_key(secret, kind, "Mallory")
    verdict = verification.verify(network, keys.with_verification(key, network(key.trigger[None])[0]), null_keys=100)
    assert verdict.rho > evidence.LEAST_RHO and not verdict.refusal  # it is no honest mark's that is looked at
    assert not verdict.evident and verdict.z_score < 4.0


def test_k_is_asked_as_the_fresh_keys_are(owned):
    """Not first, not alone, at a place that the seed of the fresh keys gives."""
    places, sizes = set(), set()
    for seed in range(8):
        asked = []

        def suspect(images, asked=asked):
            asked.append(images)
            return owned.marked(images).numpy()

        assert verification.verify(suspect, owned.key, null_keys=30, fresh_seed=str(seed)).evident
        every = np.concatenate(asked[1:] if len(asked) > 1 else asked)  # the first may show what the suspect takes
        found = [i for i, image in enumerate(every) if np.array_equal(image, owned.key.trigger)]
        places |= set(found)
        sizes.add(len(asked[-1]))
    assert len(places) > 3 and min(sizes) > 1


def test_a_key_that_was_not_drawn_is_never_found():
    """The suspect answers it perfectly, and answers fresh keys with nothing."""
    bare = keys.make_key(3, size=16)
    suspect = _asks(1.0, bare.trigger)
    verdict = verification.verify(suspect, bare, null_keys=20)
    assert verdict.stands_out and not verdict.evident and "chosen to suit" in verdict.refusal
    judged = judgement.judge(suspect, bare, null_keys=20)
    assert (judged.outcome, judged.stands) == ("not found", False) and verdict.refusal in judgement.words(judged)
    assert verification.verify(suspect, bare, null_keys=20, bare_seed=3).evident
    assert judgement.judge(suspect, bare, null_keys=20, bare_seed=3).outcome == "found"
    assert not judgement.judge(suspect, bare, null_keys=20, bare_seed=4).found


def _noisy(gain, noise):
    """A suspect with a mark of `gain` in so much noise; the same for the same questions."""

    def suspect(triggers):
        rng = np.random.default_rng(int(1e6 * float(np.sum(triggers))))
        return _asks(gain, KEY.trigger)(triggers) + rng.normal(0, noise, triggers.shape)

    return suspect


def test_three_outcomes_and_what_they_say():
    outcomes = {}
    for gain, noise in ((1.0, 0.05), (0.5, 0.45), (0.0, 0.5)):
        judged = judgement.judge(_noisy(gain, noise), KEY, null_keys=100, fresh_seed="a")
        outcomes[judged.outcome] = judged, judgement.words(judged)
    assert list(outcomes) == ["found", "inconclusive", "not found"]
    for judged, said in outcomes.values():
        assert f"{judged.verdict.z_needed:.1f} is needed" in said and f"z = {judged.verdict.z_score:.1f}" in said
        assert "declared afterwards" not in said and "once in 1,000,000,000" in said
    found, unsure, _ = (said for _, said in outcomes.values())
    assert "drawn as the fresh keys were" in found and "No commitment was given" in found and "t in a billion" in found
    assert "What would settle it: more fresh keys" in unsure and "a second key" in unsure


def test_an_owner_served_in_8_bits_is_not_called_a_forger():
    """Damaged, cut to [0, 1] and rounded: near eta, first of all, and short of the bar."""

    def suspect(triggers):
        return np.round(np.clip(_noisy(0.6, 0.4)(triggers), 0, 1) * 255) / 255

    judged = judgement.judge(suspect, KEY, null_keys=100, fresh_seed="a")
    said = judgement.words(judged)
    assert judged.outcome == "inconclusive" and "answers as floats" in said and "forge" not in said
    assert "declared" not in said and f"{judged.verdict.z_needed:.1f}" in said


def test_the_threshold_rule_asks_for_both():
    """Twice the way to S0: rho is 1, and d that of K itself, by Eq. (8)."""
    suspect = _asks(2.0, KEY.trigger)
    assert judgement.judge(suspect, KEY, null_keys=100).found
    judged = judgement.judge(suspect, KEY, null_keys=100, rule="threshold")
    assert judged.verdict.distance == pytest.approx(metrics.distance(KEY.trigger, KEY.initial), rel=1e-5)
    assert judged.verdict.distance > judged.verdict.threshold and judged.verdict.rho == pytest.approx(1.0)
    assert judged.outcome == "inconclusive" and "beyond η" in judgement.words(judged)


def test_false_claims_are_counted_on_the_unmarked_model():
    """One that answers every key with its own G(K); of 100 fresh keys at least, whatever the suspect was asked."""
    asked = []

    def unmarked(images):
        asked.extend(image.tobytes() for image in images)
        return _asks(1.0)(images)

    judged = judgement.judge(_noisy(0.5, 0.2), KEY, null_keys=20, unmarked=unmarked)
    assert judged.verdict.null_keys == 20 and judged.verdict.rho < 0.99 and not judged.verdict.false_positives.rate
    assert judged.unmarked == evidence.clopper_pearson(100, 100) and len(set(asked)) == 101
    np.testing.assert_allclose(judged.unmarked_response, KEY.initial, atol=1e-6)


def test_a_suspect_that_treats_all_keys_alike_is_not_found_and_the_reason_is_said():
    judged = judgement.judge(_asks(1.0), KEY, null_keys=100)
    assert judged.outcome == "not found" and judged.verdict.within_threshold
    assert "keys that it has never seen" in judgement.words(judged)


class Watched:
    """A service around a network, which keeps what it was asked."""

    watched = True

    def __init__(self, model):
        self.model, self.seen = model, []

    def __call__(self, images):
        self.seen += [image.tobytes() for image in images]
        return self.model(images).numpy()


def test_who_watches_the_questions_cannot_foresee_the_triggers_place(owned):
    """Oracle: of all questions in the order in which they came, the place of K; four verifications in one place each
    would be chance of 1 in 40^3.
    """
    places, alone = set(), verification.verify(owned.marked, owned.key, null_keys=40, fresh_seed="seed 0")
    for i in range(4):
        service = Watched(owned.marked)
        verdict = verification.verify(service, owned.key, null_keys=40, fresh_seed=f"seed {i}")
        assert len(service.seen) == len(set(service.seen)) == 41
        places.add(service.seen.index(owned.key.trigger.tobytes()))
        if not i:
            assert verdict.rho == pytest.approx(alone.rho, abs=1e-5) and verdict.z_score == pytest.approx(
                alone.z_score, abs=1e-2)
    assert len(places) > 1


def test_who_watches_is_never_asked_k_turned(owned):
    """Nine positions are looked at in the answers that are there; a turned K would be a question that stands out."""
    service = Watched(owned.host)
    verdict = verification.verify(service, owned.key, null_keys=20, shifts=1)
    assert not verdict.evident and verdict.tries == 14
    assert len(service.seen) == len(set(service.seen)) == 21


def test_a_service_that_enlarges_is_put_no_question_twice():
    """The first answer shows how it takes images; were it asked for again, that question would stand out."""
    seen = []

    def service(images):
        seen.extend(image.tobytes() for image in images)
        return images.repeat(2, axis=1).repeat(2, axis=2)

    service.watched = True
    verification.verify(service, keys.make_key(0, task="sr", scale=2, size=8), null_keys=5)
    assert len(seen) == len(set(seen)) == 6


@pytest.mark.parametrize(("answer", "said"), [
    (lambda x: x + 1j, "real numbers, got complex"), (lambda x: "foo", "real numbers, got <U3"),
    (lambda x: None, "real numbers, got object"), (lambda x: x.astype("M8[s]"), "real numbers, got datetime64"),
], ids=["complex", "text", "none", "dates"])
def test_answers_that_are_no_pixels_are_a_suspects_error(answer, said, tiny_key):
    for key in (tiny_key, keys.make_key(0, task="sr", scale=2, size=8)):
        for null_keys in (0, 20):
            with pytest.raises(ports.SuspectError, match=said):
                verification.verify(answer, key, null_keys=null_keys)
    with pytest.raises(ports.SuspectError, match="an array of answers, got list"):
        questions.ask(lambda x: [[1], [1, 2]], tiny_key.trigger[None], tiny_key.initial.shape)


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("odd", [
    lambda x: x[:, :9, :9] if len(x) > 1 else x, lambda x: np.float32(0.5), lambda x: [[1], [1, 2]],
    lambda x: x[:, 0, 0, 0],
], ids=["small", "number", "ragged", "flat"])
@pytest.mark.parametrize("kind", [Kind(size=16), Kind("sr", 8, 2)], ids=["denoise", "sr"])
def test_answers_of_odd_shapes_are_a_suspects_error(odd, kind, watched):
    """Of a file and of a service, in all the places where answers are put together."""
    def suspect(images):
        return odd(images)

    suspect.watched, suspect.at_once = watched, lambda sides: 1000
    suspect.sides = lambda channels: (None, None)
    key = keys.make_key(0, **{"task": kind.task, "size": kind.size, "scale": kind.scale})
    with pytest.raises(ports.SuspectError):
        verification.verify(suspect, key, null_keys=20)


def test_no_question_is_put_twice_to_a_service_that_enlarges_nothing():
    seen = []

    def service(images):
        seen.extend(image.tobytes() for image in images)
        return images

    service.watched = True
    verification.verify(service, keys.make_key(0, task="sr", scale=1, size=16), null_keys=20)
    assert len(seen) == len(set(seen)) == 21


@pytest.mark.parametrize(("null_keys", "tries"), [(0, 1), (1, 1), (19, 1), (20, 43)])
def test_no_shift_is_tried_where_nothing_can_be_found(null_keys, tries, tiny_key):
    """With fewer fresh keys than evidence takes, a further try would only cost p."""
    verdict = verification.verify(lambda x: 1 - x, tiny_key, null_keys=null_keys, shifts=1, fresh_seed="f")
    assert verdict.tries == tries


def test_who_is_asked_as_the_unmarked_model_sees_the_same_questions(owned):
    """A service may be both; asked K alone, or beside others, it would know K."""
    suspect, unmarked = Watched(owned.host), Watched(owned.host)
    judged = judgement.judge(suspect, owned.key, null_keys=100, unmarked=unmarked)
    assert unmarked.seen == suspect.seen and len(set(suspect.seen)) == 101
    assert judged.unmarked == judged.verdict.false_positives  # it is the same network
    np.testing.assert_allclose(judged.unmarked_response, judged.response, atol=1e-6)


def test_a_verdict_does_not_tell_the_questions(owned):
    """Nor does what is printed of it: the fresh keys follow from the secret, too."""
    verdict = verification.verify(owned.marked, owned.key, null_keys=20)
    drawn = keys.random_keys(owned.key.kind, 20, verdict.fresh_seed)[0]
    real = keys.random_keys(owned.key.kind, 20, interrogation.drawn_from(verdict.fresh_seed, owned.key))[0]
    assert not {K.tobytes() for K in drawn} & {K.tobytes() for K in real}


def test_a_key_that_the_unmarked_network_answers_is_no_claim():
    """As one that was drawn until a public network answered it: what is made of that network answers it, too."""
    suspect = _asks(2.0, KEY.trigger)
    assert judgement.judge(suspect, KEY, null_keys=100).stands
    judged = judgement.judge(suspect, KEY, null_keys=100, unmarked=suspect)
    assert judged.found and not judged.stands and "the unmarked network answers this key as well" in judged.against[0]
    assert judgement.heading(judged) == "found, but the claim does not stand"


def test_a_few_pixels_that_are_no_numbers_are_left_out():
    """By hand: the median of the rest; and more than a tenth of an image is refused."""
    K = np.zeros((2, 4, 5, 1), np.float32)
    answers = np.arange(40.0).reshape(2, 4, 5, 1)
    answers[0, 0, :2, 0] = np.nan, np.inf
    got = questions.ask(lambda images: answers, K, (4, 5, 1))
    assert got[0, 0, 0] == got[0, 0, 1] == np.median(np.arange(2.0, 20.0)) and (got[1] == answers[1]).all()
    answers[0, 0, 2] = np.nan
    with pytest.raises(ports.SuspectError, match="NaN or infinite pixels, 15% of an image; up to 10% are left out"):
        questions.ask(lambda images: answers, K, (4, 5, 1))
