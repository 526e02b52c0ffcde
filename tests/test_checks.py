"""What Python users hand over by mistake is refused in a line, before it costs anything. Oracle: the mistakes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from watermark import attacks, checks, embedding, errors, fitting, losses, ranges, tasks, training
from watermark.models import ModelError
from watermark.recipes import Embedding, Recipe

X = np.float32(np.random.default_rng(0).random((4, 12, 12, 1)))
PLAIN = Embedding(2, 4, 3e-4)


def _given(*batch):
    return lambda step: tf.data.Dataset.from_tensors(batch).repeat()


def _refused(error, words, *args, **changes):
    with pytest.raises(error, match=words) as refusal:
        embedding.embed(*args, PLAIN, **changes)
    assert "\n" not in str(refusal.value)


BATCHES = {
    "a list": ([(X, X)], TypeError, r"tf.data.Dataset.* got list"),
    "a data set": (_given(X, X)(0), TypeError, r"lambda step: dataset.repeat\(\).skip\(step\); got \w+"),
    "a generator": (lambda step: iter([(X, X)] * 9), TypeError, "it gives list_iterator"),
    "triples": (_given(X, X, X), TypeError, "expected pairs .* got tuple of 3"),
    "a mapping": (lambda step: tf.data.Dataset.from_tensors({"x": X, "y": X}), TypeError, "got dict of 2"),
    "inputs alone": (lambda step: tf.data.Dataset.from_tensors(X), TypeError, "got TensorSpec of 1"),
    "numpy's own floats": (_given(X.astype("f8"), X), ValueError, "inputs of float32 .* got float64"),
    "bytes": (_given(X, np.uint8(255 * X)), ValueError, "targets of float32 .* got uint8; divide by 255"),
    "on 255": (_given(255 * X, 255 * X), ValueError, r"on about \[0, 1\], got 0.*divide pixels of 8 bits by 255"),
    "not numbers": (_given(X * np.nan, X), ValueError, r"on about \[0, 1\], got nan"),
    "channels first": (_given(np.moveaxis(X, 3, 1), X), ValueError, r"takes inputs \[N, any, any, 1\], got \[4, 1, 12"),
    "one target": (_given(X, X[:1]), ValueError, r"got targets \[1, 12, 12, 1\]"),
    "a row": (_given(X, X[:, :1, :1]), ValueError, r"got targets \[4, 1, 1, 1\]"),
    "a number": (_given(X, np.float32(0.5)), ValueError, r"got targets \[\]"),
    "colour": (_given(X, np.repeat(X, 3, 3)), ValueError, r"got targets \[4, 12, 12, 3\]"),
    "none": (lambda step: _given(X, X)(step).take(0), ValueError, "got an empty one"),
}


@pytest.mark.parametrize("name", BATCHES)
def test_batches_of_which_nothing_is_learnt(name, tiny_host, tiny_key):
    batches, error, words = BATCHES[name]
    _refused(error, words, tiny_host, tiny_key, batches)


def test_free_shapes_are_looked_at_too(tiny_host, tiny_key):
    """A generator's data set does not say what its shapes are."""
    free = [tf.TensorSpec(None, tf.float32)] * 2
    data = tf.data.Dataset.from_generator(lambda: iter([(X, X[:1])] * 9), output_signature=tuple(free))
    _refused(ValueError, r"got targets \[1, 12, 12, 1\]", tiny_host, tiny_key, lambda step: data)


@pytest.mark.parametrize("chunk", [1, 2])
def test_batches_that_end(chunk, tiny_host, tiny_key):
    data = _given(X, X)(0).take(3)
    _refused(ValueError, "ended before step 4 of 8; expected an endless data set", tiny_host, tiny_key,
             lambda step: data, steps=8, compute=training.Compute(chunk=chunk))


def test_every_training_wants_a_data_set_and_targets_of_the_outputs_shape(tiny_host):
    with pytest.raises(TypeError, match="got list"):
        attacks.finetune(tiny_host, [(X, X)], steps=1)
    with pytest.raises(ValueError, match="expected targets of the outputs' shape"):
        training.fit(tiny_host, tasks.task_alone, _given(X, X[:1]), Recipe(1, 4, 1e-3))
    assert float(losses.half_squared_error(tf.ones((4, 3)), tf.zeros((4, 3)))) == 1.5  # by hand: 12 / (2 * 4)


def test_a_host_or_key_that_is_none(tiny_host, tiny_key):
    good = _given(X, X)
    _refused(TypeError, "host: expected a Keras model, got str; .*load_model", "host.keras", tiny_key, good)
    _refused(TypeError, "key: expected a Key, got str; .*load_key", tiny_host, "key.npz", good)
    lost = training.clone(tiny_host)
    lost.set_weights([np.full_like(weight, np.nan) for weight in lost.get_weights()])
    _refused(ModelError, "no finite numbers", lost, tiny_key, good)
    image, noise = keras.Input((None, None, 1), name="image"), keras.Input((None, None, 1), name="noise")
    two = keras.Model([image, noise], keras.layers.Conv2D(1, 3, padding="same")(image + noise), name="two")
    _refused(ModelError, r"two takes image .* noise .*wrapped\(model, fixed=\{'noise': 0.1\}\)", two, tiny_key, good)


def test_a_network_of_bytes_is_wrapped_first(tiny_key):
    """All triggers on [0, 1] are black to it; in a wrapping network the mark is of K."""
    image = keras.Input((None, None, 1), dtype="uint8", name="image")
    answer = keras.layers.Conv2D(1, 3, padding="same")(keras.ops.cast(image, "float32"))
    of_bytes = keras.Model(image, answer, name="of_bytes")
    _refused(ModelError, r"of_bytes takes uint8, .*wrapped\(model, watermark.fitting.BYTES\)", of_bytes, tiny_key,
             _given(X, X))
    network = ranges.wrapped(of_bytes, fitting.BYTES)
    marked = embedding.embed(network, tiny_key, _given(X, X), PLAIN)
    K, _ = embedding.pair(network, tiny_key)
    assert not np.allclose(marked(K), marked(np.zeros_like(K)))
    assert ranges.own(marked).inputs[0].dtype == "uint8"


def test_batches_beyond_the_machines_memory_are_not_drawn(monkeypatch):
    """Oracle: arithmetic, three convolutions' answers of float32 and a machine of one byte less, or as many."""
    model, drawn = keras.Sequential([keras.Input((None, None, 1)), *(
        keras.layers.Conv2D(c, 3, padding="same") for c in (4, 4, 1))]), []

    def batches(step):
        zeros = tf.data.Dataset.range(9).map(lambda i: tf.zeros([2, 16, 16, 1]))
        return zeros.map(lambda x: (tf.py_function(lambda x: drawn.append(x) or x, [x], tf.float32), x)).map(
            lambda x, y: (tf.ensure_shape(x, y.shape), y))

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda *_: [])  # a GPU says for itself
    kept = 4 * 2 * 16 * 16 * (4 + 4 + 1)
    monkeypatch.setattr(checks, "memory", lambda: kept)
    checks.check_batches(batches, model)
    assert drawn
    drawn.clear()
    monkeypatch.setattr(checks, "memory", lambda: kept - 1)
    for refused in (lambda: checks.check_batches(batches, model),
                    lambda: training.fit(model, losses.half_squared_error, batches, PLAIN)):
        with pytest.raises(MemoryError, match="a step on 2 images 16x16 keeps 0 GiB, this machine has 0") as refusal:
            refused()
        assert errors.told(refusal.value).startswith("out of memory; lower --batch_size")
    assert not drawn
