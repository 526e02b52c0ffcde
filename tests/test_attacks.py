"""Promises about every attack; `tests/test_specs.py` has those about its name."""

import dataclasses
import tempfile

import keras
import numpy as np
import pytest
from absl import flags

from watermark import attacks, blackbox, inference, keys
from watermark.attacks import ATTACKS, Thief
from watermark.cli import attack as verb
from watermark.embedding import embed
from watermark.recipes import Embedding
from watermark.training import Compute, Run

# The knobs of a small attack, by name; one that is not here is the command line's default.
SMALL = {"steps": 2, "batch_size": 4, "patch": 12, "data": "own", "key": 7, "seed": 0,
         "recipe": Embedding(2, 4, 1e-3)}


def _made(name, **knobs):
    kind = ATTACKS[name]
    defaults = {field.name: SMALL.get(field.name, field.metadata["cli"]) for field in dataclasses.fields(kind)}
    return kind(**defaults | knobs)


@pytest.fixture
def thief(tiny_batches):
    return Thief(lambda data, recipe, seed: tiny_batches, lambda seed: keys.make_key(seed, size=12), embed,
                 Run(compute=Compute("float32")))


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack(name, tiny_host, thief):
    attack, before = _made(name), tiny_host.get_weights()
    attacked = attack(tiny_host, thief)
    for a, b in zip(before, tiny_host.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    images = np.random.default_rng(0).random((2, 12, 12, 1), np.float32)
    ask = blackbox.as_suspect(attacked, keys.make_key(0, size=12).kind)
    answers, host = ask(images), inference.predictor(tiny_host)(images)
    assert np.isfinite(answers).all() and answers.shape == host.shape and not np.array_equal(answers, host)
    assert attack.label != attack.name and callable(attacked) and attack.answers != hasattr(attacked, "get_weights")


def test_a_form_that_cannot_be_served_leaves_nothing_behind(tiny_host, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ValueError, match="tflight"):
        ATTACKS["serve"]("tflight")(tiny_host, None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("call", [
    lambda model, batches, **changes: attacks.finetune(model, batches, **changes),
    lambda model, batches, **changes: attacks.overwrite(model, keys.make_key("thief", size=12), batches, **changes),
], ids=["finetune", "overwrite"])
def test_the_training_attacks_are_functions_of_model_and_batches(call, tiny_host, tiny_batches):
    """Issue 2's contract: steps and rate by name, a new model back, the argument untouched."""
    before = tiny_host.get_weights()
    changes = dict(batch_size=4, compute=Compute("float32"))
    one, two = (call(tiny_host, tiny_batches, steps=steps, learning_rate=1e-4, **changes) for steps in (1, 2))
    for a, b in zip(before, tiny_host.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    kernels = [model.get_weights()[0] for model in (tiny_host, one, two)]
    assert not any(np.array_equal(a, b) for a, b in zip(kernels, kernels[1:], strict=False))
    with pytest.raises(TypeError, match="unknown setting 'stpes'; choose from"):
        call(tiny_host, tiny_batches, stpes=1)


@pytest.mark.parametrize(("name", "knob"), [(name, field) for name, kind in ATTACKS.items()
                                             for field in dataclasses.fields(kind)
                                             if field.metadata["none"] is not None],
                         ids=lambda value: getattr(value, "name", value))
def test_strength_0_is_the_identity(name, knob, tiny_host, thief):
    nothing = _made(name, **{knob.name: knob.metadata["none"]})(tiny_host, thief)
    images = np.random.default_rng(0).random((2, 12, 12, 1), np.float32)
    ask = blackbox.as_suspect(nothing, keys.make_key(0, size=12).kind)
    np.testing.assert_array_equal(ask(images), inference.predictor(tiny_host)(images))


@pytest.mark.parametrize(("name", "field"), [(name, field) for name, kind in ATTACKS.items()
                                              for field in dataclasses.fields(kind)],
                         ids=lambda value: getattr(value, "name", value))
def test_every_knob_says_what_it_is_and_keeps_its_bounds(name, field):
    assert field.default is dataclasses.MISSING, "a default would be left out of names once it changes"
    assert field.metadata["help"]
    for bound, beyond in (("low", -1), ("high", 1)):
        if (limit := field.metadata[bound]) is not None:
            with pytest.raises(ValueError, match=f"{name}: expected {field.name} "):
                _made(name, **{field.name: limit + beyond})


def test_every_knob_with_a_default_is_a_flag():
    values = flags.FlagValues()
    verb.define(values)
    for name, kind in ATTACKS.items():
        for field in dataclasses.fields(kind):
            if field.metadata["cli"] is not None and not kind.answers:
                assert field.name in values, (name, field.name)
        assert kind.answers or name in values["kind"].parser.enum_values


def test_a_knob_of_any_kind_is_a_flag_with_a_default_of_its_own(monkeypatch):
    """Though another attack has one of that name, whose default is another."""
    monkeypatch.setattr(attacks.base, "ATTACKS", {})

    @attacks.attack("odd")
    class Odd(attacks.Attack):
        mode: str = attacks.knob(help="how", cli="hard")
        twice: bool = attacks.knob(help="whether", cli=True)
        rate: float = attacks.knob(help="how much", low=0.0, cli=0.9)

    monkeypatch.setitem(verb.KINDS, "odd", Odd)
    flagged = ("--mode=soft", "--notwice", "--rate=0.3")
    for told, made in (((), Odd("hard", True, 0.9)), (flagged, Odd("soft", False, 0.3))):
        values = flags.FlagValues()
        verb.define(values)
        values(["watermark attack", "--kind=odd", *told])
        assert verb._attack(values, None) == made


@pytest.mark.parametrize("kind", ["dim", "bend"])
def test_a_network_that_answers_with_its_question_does_so_on_other_images_too(kind):
    """And one that adds a tenth of the range adds an eighth as seen through eight tenths of the brightness."""
    images = np.random.default_rng(0).random((2, 12, 12, 1), np.float32)
    asked = [_made(kind)(keras.Sequential([keras.Input((None, None, 1)), keras.layers.Rescaling(1.0, offset)]), None)
             for offset in (0.0, 0.1)]
    np.testing.assert_allclose(asked[0](images), images, atol=1e-5)
    wanted = images + 0.125 if kind == "dim" else (images**0.7 + 0.1)**(1 / 0.7)
    np.testing.assert_allclose(asked[1](images), wanted, atol=1e-5)


def test_answers_of_two_bits_by_hand():
    """Beyond [0, 1] cut, and on four levels with both ends."""
    model = keras.Sequential([keras.Input((None, None, 1)), keras.layers.Rescaling(2.0, -0.5)])
    images = np.random.default_rng(0).random((2, 12, 12, 1), np.float32)
    answers = ATTACKS["round"](2)(model, None)(images)
    np.testing.assert_allclose(answers, np.round(np.clip(2 * images - 0.5, 0, 1) * 3) / 3, atol=1e-6)
    assert set(np.round(3 * answers, 5).ravel()) == {0, 1, 2, 3}


def test_a_thief_sees_other_batches_than_the_owner(tiny_host, thief):
    """And embeds another key in every trial."""
    seeds, asked = [], []
    spying = dataclasses.replace(thief, seed=5, batches=lambda data, recipe, seed: seeds.append(seed) or thief.batches(
        data, recipe, seed), key=lambda seed: asked.append(seed) or thief.key(seed))
    _made("finetune", seed=2000)(tiny_host, spying)
    _made("overwrite", seed=3000)(tiny_host, spying)
    assert seeds == [2005, 3005]  # the owner's are below 2,000
    assert asked == [SMALL["key"] + 5]
