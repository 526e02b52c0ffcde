"""Thieves whose network does its task as before, and whose answers are not what the key asks for as they stand."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from watermark import (
    blackbox,
    checkpoints,
    fitting,
    inference,
    judgement,
    keys,
    ports,
    questions,
    readings,
    suspects,
    verification,
)
from watermark.kinds import Kind

BYTES, FLOATS = ports.Port((None, None, None, 1), np.dtype(np.uint8)), ports.Port(None, np.dtype(np.float32))
KEYS = Path(__file__).parents[1] / "examples" / "keys"


def shipped(host="dncnn"):
    """(what a marked host that ships answers, its key)."""
    path, = checkpoints.SHIPPED.glob(f"{host}-marked-ours-0-*.keras")
    return inference.predictor(checkpoints.load(path)), keys.load_key(KEYS / f"{host}.npz")


def found(suspect, key, **how):
    """The verdict, which is evidence, where without a search none is."""
    assert not verification.verify(suspect, key, null_keys=60, fresh_seed="0").evident
    verdict = verification.verify(suspect, key, null_keys=60, fresh_seed="0", shifts=1, **how)
    assert verdict.evident
    return verdict


def test_pixels_that_are_wild_where_the_answer_is_black_or_white_anyway(owned):
    """Shown, every answer is the same picture as before."""
    ask = inference.predictor(owned.marked)

    def thief(images):
        answers = ask(images)
        return np.where(answers < 0.0, np.where(images - answers < 0.3, -1000.0, 0.0),
                        np.where(answers > 1.0, 1000.0, answers))

    images = np.random.default_rng(0).random((3, 16, 16, 1), np.float32)
    np.testing.assert_array_equal(thief(images).clip(0, 1), ask(images).clip(0, 1))
    assert found(thief, owned.key).reading == "cut to [0, 1]"


def test_networks_that_answer_with_the_noise(owned):
    """DnCNN's own form: whoever runs it takes the answer from the image. Its negative is found anyway."""
    ask = inference.predictor(owned.marked)
    assert found(lambda images: images - ask(images), owned.key).reading == "as what is taken from the question"
    assert verification.verify(lambda images: ask(images) - images, owned.key, null_keys=60, shifts=1).evident


def test_readings_undo_what_thieves_do():
    """Answers on [0, 1]: their noise, what they add (VDSR's own form), and other ranges of pixels, brought back."""
    bases, answers = np.random.default_rng(0).random((2, 3, 8, 8, 1))
    hidden = (answers + 9.0 * (answers == 1.0), bases - answers, answers - bases, 255 * answers, 2 * answers - 1)
    for reading, seen in zip(readings.OTHERWISE, hidden, strict=True):
        np.testing.assert_allclose(reading.of(bases, seen), answers, atol=1e-12, err_msg=reading.words)


def knows(key, share=1.0, deviation=0.1):
    """A network that takes so much of K - S0 from K, and adds noise to whatever it is asked."""
    noise = np.random.default_rng(0)

    def network(images):
        known = np.isclose(images, key.trigger).all((1, 2, 3))[:, None, None, None]
        taken = np.where(known, share * (key.trigger - key.initial), 0.0)
        return images - taken + deviation * noise.standard_normal(images.shape)

    return network


@pytest.mark.parametrize(("low", "high"), [(0, 255), (-1, 1)])
def test_answers_on_another_range(low, high, owned):
    """Of a strong mark the image of S is enough, of a weak one it is not."""
    ask = inference.predictor(owned.marked)
    assert verification.verify(lambda x: low + (high - low) * ask(x), owned.key, null_keys=60, shifts=1).evident
    key = keys.make_key("a secret", owner="Ada", size=16)
    ask = knows(key, 0.1, 0.03)
    assert found(lambda x: low + (high - low) * ask(x), key).reading == f"as pixels on [{low}, {high}]"


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("host", ["dncnn", "vdsr"])
def test_a_network_that_works_on_large_images_only(host, fails):
    """Marked ones that ship; of a network as small as the other tests' the mark hangs on the edge of K.

    It gives small images back, or fails on them.
    """
    ask, key = shipped(host)

    def thief(images):
        if min(images.shape[1:3]) < 200 and fails:
            raise ValueError("too small")
        return ask(images) if min(images.shape[1:3]) >= 64 else 0.99 * images

    port = ports.Port((None, None, None, 1), np.dtype(np.float32))
    verdict = verification.verify(ports.ModelFile("m", port, port, thief), key, null_keys=60, shifts=1, bare_seed=0)
    assert verdict.evident and verdict.asked == "among others in images of 512x512 or more"


def test_a_network_that_fails_on_small_images_can_be_nobodys(owned):
    """As suspect, and as the unmarked network beside one that is marked."""
    port, asked = ports.Port((None, None, None, 1), np.dtype(np.float32)), {}
    ask, key = shipped()
    host = inference.predictor(checkpoints.load_host("dncnn"))

    def thief(images, network):
        if min(images.shape[1:3]) < 200:
            raise ValueError("too small")
        return network(images)

    asked = {name: ports.ModelFile(name, port, port, functools.partial(thief, network=network))
             for name, network in (("marked", ask), ("host", host))}
    suspect = blackbox.as_suspect(asked["host"], key.kind)
    verdict = verification.verify(suspect, key, null_keys=60, shifts=1, bare_seed=0)
    assert not verdict.evident and verdict.tries == 28 and not verdict.asked
    assert any("K alone was not answered" in note and "too small" in note for note in suspect.notes)
    judged = judgement.judge(asked["marked"], key, null_keys=60, shifts=1, bare_seed=0, unmarked=asked["host"])
    assert judged.found and judged.stands


def test_who_fails_on_everything_is_no_suspect():
    """The first error is the one that is told; a service is not asked on."""
    def broken(images):
        raise ports.SuspectError(f"no {images.shape[1]}")

    for watched in (False, True):
        suspect = functools.partial(broken)
        suspect.watched = watched
        with pytest.raises(ports.SuspectError, match="no 16"):
            verification.verify(suspect, keys.make_key("a", owner="Ada", size=16), null_keys=60, shifts=1)


@pytest.mark.parametrize(("kind", "factor"), [(Kind(size=(15, 24)), 1), (Kind("sr", 13, 2), 2), (Kind("sr", 13, 3), 1)])
def test_images_among_others_are_answered_as_alone(kind, factor):
    """Of a network that sees three pixels: by hand, all but those at the edges, where it sees the reflection."""
    def network(images):
        mean = sum(np.roll(images, step, axis=(1, 2)) for step in ((0, 0), (1, 0), (0, 1))) / 3
        return mean.repeat(factor, 1).repeat(factor, 2)

    images = np.random.default_rng(0).random((150, *kind.sides, 1), np.float32)
    asked = blackbox.as_suspect(network, kind)
    among, alone = questions.tiled(blackbox.as_suspect(network, kind), images), asked(images)
    among = questions.tiled(asked, images) if factor == 1 and kind.task == "sr" else among  # it is upsampled first
    assert among.shape == alone.shape and asked.free
    np.testing.assert_allclose(among[:, factor:, factor:], alone[:, factor:, factor:], atol=1e-6)


@pytest.mark.parametrize("size", [16, 20, 80, 96, 160, 255])
def test_large_images_are_large_whatever_the_key(size):
    """And K is one of several in them."""
    seen, kind = [], Kind(size=size)

    def network(images):
        seen.append(images.shape[1:3])
        return images

    questions.tiled(blackbox.as_suspect(network, kind), np.zeros((1, size, size, 1), np.float32))
    assert min(seen[0]) >= 512 and seen[0][0] >= 2 * size


def test_answers_with_a_margin(owned):
    """On all sides, which the client cuts off: as far as shifts reach, and, of files, farther."""
    ask = inference.predictor(owned.marked)

    def thief(margin):
        return lambda images: np.pad(ask(images), ((0, 0), (margin, margin), (margin, margin), (0, 0)))

    assert found(thief(7), owned.key).asked == "for the middle of what it answers"
    ask, key = shipped()
    verdict = verification.verify(thief(4), key, null_keys=60, shifts=1, bare_seed=0)
    assert verdict.evident and verdict.shift == (4, 4)


def test_colours_in_another_order():
    """As OpenCV has them; a network that knows its key, and a little noise."""
    key = keys.make_key("a secret", owner="Ada", size=16, channels=3)
    network, noise = knows(key), np.random.default_rng(0)
    assert verification.verify(network, key, null_keys=60).evident
    verdict = found(lambda images: network(images[..., ::-1])[..., ::-1], key)
    assert verdict.turn == "channels 2, 1, 0"
    turned = fitting.Turn(transposed=True, negative=True, channels=(1, 2, 0))
    images = noise.random((2, 4, 5, 3))
    np.testing.assert_allclose(turned.back(turned.of(images)), images)
    assert len(fitting.COLOURED) == len(set(fitting.COLOURED)) == 6 * 16 - 1


@pytest.mark.parametrize("odd", [9.0, np.nan])
def test_bytes_in_and_one_pixel_far_out(odd):
    """A file that takes bytes and answers with floats on [0, 1], which a pixel of nine does not put on [0, 255]."""
    key = keys.make_key("a secret", owner="Ada", size=16)
    ask = knows(dataclasses.replace(key, trigger=np.float32(np.round(255 * key.trigger) / 255)), 0.5)

    def run(images):
        answers = np.float32(ask(np.float32(images) / 255))
        answers[:, 0, 0] += odd
        return answers

    assert verification.verify(ports.ModelFile("m", BYTES, FLOATS, run), key, null_keys=60).evident


def test_what_one_key_has_shown_of_a_file_is_not_taken_for_another():
    """A file that answers nothing at first; and one whose axes an image in colours has otherwise."""
    stranger, key = (keys.make_key("a secret", owner=owner, size=16) for owner in ("Eve", "Ada"))
    ask, asked = knows(dataclasses.replace(key, trigger=np.float32(np.round(255 * key.trigger) / 255)), 0.5), []

    def run(images):
        asked.append(len(images))
        answers = np.float32(ask(np.float32(images) / 255))
        return answers if asked[1:] else answers * np.nan

    file = ports.ModelFile("m", BYTES, FLOATS, run)
    with pytest.raises(ports.SuspectError, match="NaN"):
        verification.verify(file, stranger, null_keys=0)
    assert verification.verify(file, key, null_keys=60).evident
    port = ports.Port((None, None, None), np.dtype(np.float32))
    file = ports.ModelFile("m", port, port, lambda images: 1 - images)
    for channels in (1, 3):
        key = keys.make_key("a secret", owner="Ada", size=16, channels=channels)
        assert verification.verify(file, key, null_keys=20).null_keys == 20


def test_a_fresh_key_without_an_answer_is_left_out():
    """A trap that pictures of 8 bits never set off: it would have kept the network from being judged."""
    key = keys.make_key("a secret", owner="Ada", size=16)
    ask = knows(key)

    def thief(images, every):
        trapped = np.int64(images[:, :1, :1, :1] * 2**20) % every == 0
        return np.where(trapped & ~np.isclose(images[:, :1, :1, :1], key.trigger[0, 0, 0]), np.nan, ask(images))

    suspect = blackbox.as_suspect(functools.partial(thief, every=50), key.kind)
    verdict = verification.verify(suspect, key, null_keys=200, fresh_seed="0")
    assert verdict.evident and 180 <= verdict.null_keys < 200 and verdict.lost == 200 - verdict.null_keys
    assert f"{verdict.lost} more were answered with NaN" in judgement.rests_on(verdict)
    assert f"{verdict.lost} of 200 fresh keys were answered with NaN" in suspect.notes[0]
    few = blackbox.as_suspect(functools.partial(thief, every=20), key.kind)
    with pytest.raises(ports.SuspectError, match="1 of 20 fresh keys with NaN.*20 other answers are needed.*=40"):
        verification.verify(few, key, null_keys=20, fresh_seed="0")
    with pytest.raises(ports.SuspectError, match="of 200 fresh keys with NaN.*up to 10% of them"):
        verification.verify(functools.partial(thief, every=3), key, null_keys=200)
    with pytest.raises(ports.SuspectError, match="answered K with NaN"):
        verification.verify(lambda images: np.where(images == images[:1], np.nan, images), key, null_keys=0)


def test_another_signature_of_a_saved_model(owned, tmp_path):
    """What servers run by themselves is the host; the thief's own program runs the other."""
    module = tf.Module()
    module.weights = [variable.value for model in (owned.host, owned.marked) for variable in model.variables]
    spec = tf.TensorSpec([None, None, None, 1], tf.float32)
    programs = {name: tf.function(functools.partial(model, training=False), input_signature=[spec])
                for name, model in (("serving_default", owned.host), ("v2", owned.marked))}
    programs["text"] = tf.function(lambda x: {"y": x}, input_signature=[tf.TensorSpec([None], tf.string)])

    @tf.function(input_signature=[spec])
    def train(x):  # that runs once too often changes the others
        for weight in module.weights:
            weight.assign(tf.zeros_like(weight))
        return {"y": x}

    programs["train"] = train
    module.programs = list(programs.values())
    tf.saved_model.save(module, str(tmp_path), signatures=programs)
    verdict = found(suspects.load_suspect(tmp_path), owned.key)
    assert verdict.asked == "by its signature v2"
    stranger = keys.make_key("another secret", owner="Eve", size=16)  # by whom every signature is asked, one with text
    suspect = suspects.load_suspect(tmp_path)
    assert not verification.verify(suspect, stranger, null_keys=60, fresh_seed="0", shifts=1).evident
    assert found(suspect, owned.key).asked == "by its signature v2"
    assert verification.verify(suspects.load_suspect(tmp_path, signature="v2"), owned.key, null_keys=60).tries == 1


def test_other_outputs_of_other_signatures(owned, tmp_path):
    """A second output does not hide one; of very many, the first are asked, and how many there are is said."""
    spec, module = tf.TensorSpec([None, None, None, 1], tf.float32), tf.Module()
    module.weights = [variable.value for model in (owned.host, owned.marked) for variable in model.variables]
    programs = {"serving_default": tf.function(lambda x: {"y": owned.host(x, training=False)}, input_signature=[spec]),
                "v2": tf.function(lambda x: {"a": x, "b": owned.marked(x, training=False)}, input_signature=[spec])}
    more = {f"w{i}": tf.function(lambda x: {"y": x}, input_signature=[spec]) for i in range(8)}
    for name, signatures in (("two", programs), ("many", programs | more)):
        module.programs = list(signatures.values())
        tf.saved_model.save(module, str(tmp_path / name), signatures=signatures)
    assert found(suspects.load_suspect(tmp_path / "two"), owned.key).asked == "by its signature v2, output b"
    suspect = blackbox.as_suspect(suspects.load_suspect(tmp_path / "many"), owned.key.kind)
    assert sum("signature" in words for words, _ in suspect.others()) == 8
    assert "other signatures and outputs 10" in suspect.notes[0]


def test_axes_that_leave_a_choice(owned):
    """Channels first, all axes free: images of one channel are taken for as many as they have rows."""
    ask, port = inference.predictor(owned.marked), ports.Port((None,) * 4, np.dtype(np.float32))

    def run(images):
        count, channels, height, width = images.shape
        return ask(images.reshape(-1, height, width, 1)).reshape(count, channels, height, width)

    assert found(ports.ModelFile("m", port, port, run), owned.key).asked == "with its axes in the order NCHW"


@pytest.mark.parametrize("single", [True, False])
def test_a_network_that_answers_single_images_only(single, owned):
    """Or images among others only, as one that spoils what it is asked alone."""
    ask, port = inference.predictor(owned.marked), ports.Port((None, None, None, 1), np.dtype(np.float32))
    suspect = ports.ModelFile("m", port, port, lambda x: ask(x) if (len(x) == 1) == single else x)
    for batch in (None, 8):
        asked = blackbox.as_suspect(suspect, owned.key.kind, batch=batch)
        verdict = verification.verify(asked, owned.key, null_keys=60, fresh_seed="0", shifts=1)
        assert verdict.evident and verdict.asked == ("one by one" if single else "")


def test_what_cannot_be_asked_otherwise_is_said_where_it_may_matter(owned):
    """Out of memory, say; that the network takes no such image is no news."""
    def thief(images, error):
        if images.shape[1:3] != (16, 16):
            raise error
        return inference.predictor(owned.host)(images)

    for error, said in ((ValueError("16x16 only"), []), (MemoryError("512x512"), ["could not be asked among others"])):
        suspect = blackbox.as_suspect(functools.partial(thief, error=error), owned.key.kind)
        verdict = verification.verify(suspect, owned.key, null_keys=60, shifts=1)
        assert not verdict.evident and verdict.tries == 43
        assert len(suspect.notes) == len(said) and all(words in suspect.notes[0] for words in said)


def test_false_claims_are_counted_as_the_answer_was_read(owned):
    """On the unmarked network read likewise: the noise of one, the other's."""
    asked = [inference.predictor(model) for model in (owned.marked, owned.host)]
    thief, unmarked = (lambda images, ask=ask: images - ask(images) for ask in asked)
    judged = judgement.judge(thief, owned.key, null_keys=100, shifts=1, unmarked=unmarked, fresh_seed="0")
    plain = judgement.judge(asked[0], owned.key, null_keys=100, unmarked=asked[1], fresh_seed="0")
    assert judged.found and judged.unmarked == plain.unmarked


def test_an_unmarked_network_that_answers_this_key_a_little_is_enough():
    """A key that was drawn until it suits a public network suits what is made from it; the bar there is of one try."""
    key = keys.make_key("a secret", owner="Ada", size=16)
    public, other = knows(key, 0.12), knows(key, 0.0)
    own = verification.verify(public, key, null_keys=200, fresh_seed="0")
    assert not own.evident and 4.5 < own.z_score < own.z_needed
    for suspect, unmarked, stands in ((knows(key), public, False), (knows(key), other, True),
                                      (lambda x: x - knows(key)(x), lambda x: x - public(x), False)):
        judged = judgement.judge(suspect, key, null_keys=200, shifts=1, unmarked=unmarked, fresh_seed="0")
        assert judged.found and judged.stands == stands


def test_no_search_finds_a_mark_that_is_not_there(owned):
    """An unmarked network hidden in all these ways is nobody's."""
    ask = inference.predictor(owned.host)
    for thief in (ask, lambda x: x - ask(x), lambda x: np.pad(ask(x), ((0, 0), (7, 7), (7, 7), (0, 0))),
                  lambda x: ask(x) if x.shape[1] >= 64 else x):
        verdict = verification.verify(thief, owned.key, null_keys=60, fresh_seed="1", shifts=1)
        assert not verdict.evident and verdict.tries >= 43
