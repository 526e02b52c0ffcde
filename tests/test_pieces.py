"""Questions to suspects of one size larger than the key: in pieces, to a limit, with errors that are this project's."""

import tracemalloc

import keras
import numpy as np
import pytest
from test_runtimes import nchw

from watermark import blackbox, inference, judgement, models, ports, questions, suspects, verification
from watermark.kinds import Kind

KIND = Kind(size=16)


def test_many_questions_are_continued_piece_by_piece():
    """Memory by tracemalloc: 200 questions of 16x16 to a file that names 512x512, which would be 200 MiB each way."""
    asked = []
    port = ports.Port((None, 512, 512, 1), np.dtype(np.float32))
    suspect = blackbox.as_suspect(ports.ModelFile("m", port, port, lambda x: asked.append(x.shape) or 1 - x), KIND)
    images = np.random.default_rng(0).random((200, 16, 16, 1), np.float32)
    tracemalloc.start()
    answers = suspect(images)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_array_equal(answers, 1 - images)
    assert peak < 20 << 20 and set(asked) == {(1, 512, 512, 1)} and len(asked) == 201


@pytest.mark.parametrize("shape", [(None, 40, 40, 1), (3, 40, 40, 1), (200, 40, 40, 1)])
@pytest.mark.parametrize("batch", [None, 7])
def test_pieces_answer_as_the_whole_did(shape, batch, owned):
    """To the bit: 200 questions of 16x16, continued all at once by hand, to a file of 40x40 (163 a piece)."""
    inputs = keras.Input(batch_shape=shape)
    model = keras.Model(inputs, owned.marked(inputs))
    images = np.random.default_rng(0).random((200, 16, 16, 1), np.float32)
    whole = np.pad(images, ((0, 0), (0, 24), (0, 24), (0, 0)), mode="reflect")
    expected = ports.in_batches(inference.predictor(model), whole, batch or 200)[:, :16, :16]
    np.testing.assert_array_equal(blackbox.as_suspect(model, KIND, batch=batch)(images), expected)


@pytest.mark.parametrize("form", ["keras", "onnx"])
def test_no_question_grows_as_a_file_likes(form, owned, tmp_path):
    why = "takes images of 16x2401 pixels; they are continued to at most 2400 a side; ask it in a function"
    if form == "keras":
        inputs = keras.Input((16, 2401, 1))
        models.save_model(keras.Model(inputs, owned.marked(inputs)), tmp_path / "m.keras")
        path = tmp_path / "m.keras"
    else:
        nchw(path := tmp_path / "m.onnx", owned, [1, 1, 16, 2401])
    with pytest.raises(suspects.SuspectError, match=why):
        blackbox.as_suspect(suspects.load_suspect(path), KIND)


def test_a_model_that_fails_at_a_later_batch_is_a_suspect_that_does_not_answer(owned):
    """TensorFlow's error, of a graph that takes K alone; it is this project's, in one line."""
    inputs = keras.Input((None, None, 1))
    one = keras.layers.Lambda(lambda x: keras.ops.reshape(x, (1, 16, 16, 1)), output_shape=(16, 16, 1))(inputs)
    suspect = blackbox.as_suspect(keras.Model(inputs, one), KIND)
    assert suspect(owned.key.trigger[None]).shape == (1, 16, 16, 1)
    with pytest.raises(suspects.SuspectError, match="does not answer images of 16x16 pixels") as caught:
        suspect(np.stack([owned.key.trigger] * 2))
    assert "\n" not in str(caught.value)


def test_no_query_is_filled_up_as_a_file_likes():
    port = ports.Port((300_000, 16, 16, 1), np.dtype(np.float32))
    suspect = blackbox.as_suspect(ports.ModelFile("m", port, port, lambda x: pytest.fail("it is asked")), KIND)
    with pytest.raises(suspects.SuspectError, match="takes 300000 images a query, 76,800,000 pixels; expected"):
        suspect(np.zeros((1, 16, 16, 1), np.float32))


@pytest.mark.parametrize(("kind", "factor", "lack", "around"), [
    (Kind(size=16), 1, (4, 4), (2, 2)), (Kind(size=16), 1, (0, 3), (0, 2)), (Kind(size=(16, 20)), 1, (1, 6), (1, 3)),
    (Kind("sr", 16, 2), 2, (4, 10), (1, 3)), (Kind("sr", 16, 2), 1, (2, 2), (1, 1))])
def test_where_answers_lack_edges_questions_are_continued_on_all_sides(kind, factor, lack, around):
    """Of networks that do not pad, and thieves who cut edges off; the cut, by hand, is of the upper left half first."""
    asked = []

    def suspect(images):
        asked.append(images)
        large = 1 - images.repeat(factor, 1).repeat(factor, 2)
        rows, columns = large.shape[1:3]
        top, left = lack[0] // 2, lack[1] // 2
        return large[:, top:rows + top - lack[0], left:columns + left - lack[1]]

    images = np.random.default_rng(0).random((3, *kind.sides, 1), np.float32)
    asker = blackbox.as_suspect(suspect, kind)
    for _ in range(2):
        answers = asker(images)
    whole = inference.upsampled(images, kind) if kind.task == "sr" and factor == 1 else images
    np.testing.assert_array_equal(asked[-1], np.pad(whole, ((0, 0), *((n, n) for n in around), (0, 0)), "reflect"))
    assert answers.shape[1:] == kind.answer_shape
    if not any(n % 2 for n in lack):
        np.testing.assert_array_equal(answers, 1 - whole.repeat(factor, 1).repeat(factor, 2))
    assert sum("on each side" in note for note in asker.notes) == 1


def test_a_network_without_padding_is_asked_with_more():
    inputs = keras.Input((None, None, 1))
    model = keras.Model(inputs, keras.layers.AveragePooling2D(5, 1)(inputs))
    images = np.random.default_rng(0).random((3, 16, 16, 1), np.float32)
    around = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(blackbox.as_suspect(model, KIND)(images), inference.predictor(model)(around))


@pytest.mark.parametrize(("cut", "shifts"), [((1, 1, 1, 1), 0), ((2, 2, 1, 1), 0), ((2, 0, 0, 0), 1),
                                             ((0, 4, 0, 0), 1)])
def test_a_thief_who_cuts_edges_off_is_found(owned, cut, shifts):
    top, bottom, left, right = cut

    def suspect(images):
        answers = np.array(owned.marked(images))
        return answers[:, top:answers.shape[1] - bottom, left:answers.shape[2] - right]

    assert verification.verify(suspect, owned.key, null_keys=100, fresh_seed="0", shifts=shifts).evident


@pytest.mark.parametrize("sides", [(8, 8), (17, 15), (4, 16)])
def test_answers_of_other_sizes_lack_no_edges(sides):
    with pytest.raises(ports.SuspectError, match=r"expected answers of shape"):
        questions.ask(blackbox.as_suspect(lambda images: np.zeros((len(images), *sides, 1)), KIND),
                         np.zeros((2, 16, 16, 1), np.float32), (16, 16, 1))


def test_a_service_that_lacks_edges_sees_one_question_twice():
    """The first of all, which is no more K's than another's; the rest once, continued."""
    asked = []

    class Service:
        watched = True

        def __call__(self, images):
            asked.append(images.shape)
            return images[:, 2:-2, 2:-2]

    images = np.random.default_rng(0).random((9, 16, 16, 1), np.float32)
    np.testing.assert_array_equal(blackbox.as_suspect(Service(), KIND)(images), images)
    assert asked == [(1, 16, 16, 1), (9, 20, 20, 1)]


def test_a_size_that_is_fixed_cannot_grow():
    inputs = keras.Input((16, 16, 1))
    model = keras.Model(inputs, keras.layers.AveragePooling2D(5, 1)(inputs))
    with pytest.raises(ports.SuspectError, match=r"expected answers of shape \[2, 16, 16, 1\], got \[2, 12, 12, 1\]"):
        questions.ask(blackbox.as_suspect(model, KIND), np.zeros((2, 16, 16, 1), np.float32), (16, 16, 1))


def test_in_a_larger_size_that_is_fixed_the_middle_is_asked():
    """25 pixels a side leave 4 and 5 around 16; of 21 pixels answered, K's are 2 from the top left."""
    inputs = keras.Input((25, 25, 1))
    model = keras.Model(inputs, keras.layers.AveragePooling2D(5, 1)(inputs))
    images = np.random.default_rng(0).random((3, 16, 16, 1), np.float32)
    asked = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="reflect")
    asked = np.pad(asked, ((0, 0), (0, 1), (0, 1), (0, 0)), mode="reflect")
    suspect = blackbox.as_suspect(model, KIND)
    np.testing.assert_array_equal(suspect(images), inference.predictor(model)(asked)[:, 2:18, 2:18])
    assert suspect.lack == 2 and "lack edges, 21x21" in suspect.notes[-1]
    tight = keras.Input((18, 18, 1))  # one pixel on each side, two are lacking
    with pytest.raises(ports.SuspectError, match=r"got \[2, 14, 14, 1\]"):
        questions.ask(blackbox.as_suspect(keras.Model(tight, keras.layers.AveragePooling2D(5, 1)(tight)), KIND),
                         np.zeros((2, 16, 16, 1), np.float32), (16, 16, 1))


def test_false_claims_are_counted_as_the_mark_was_found(owned):
    """In the negative, where a network that does to all images what keys ask for does the opposite."""
    def asks(images):
        return np.stack([owned.key.kind.generate(K) for K in images])

    for suspect, rate in ((owned.marked, 1.0), (lambda images: 1 - np.array(owned.marked(1 - images)), 0.0)):
        judged = judgement.judge(suspect, owned.key, null_keys=100, fresh_seed="0", shifts=1, unmarked=asks)
        assert judged.verdict.stands_out and judged.unmarked.rate == rate
