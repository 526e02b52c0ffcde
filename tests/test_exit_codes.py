"""An exit code of 0 or 1 is a verdict. What else ends a command has 2, and a line; oracle: the codes of the help."""

import keras
import pytest
from owners import LAYERS, denoiser, watermark

from watermark import models

EXITS = "import sys\n\ndef restore(images):\n    {0}\n    return images\n\ndef main():\n    return {1}\n\n{2}\n"


@pytest.fixture
def mine(tmp_path, monkeypatch, capsys, known):
    """An owner's folder, which is where the test is: a network, and a key."""
    monkeypatch.chdir(tmp_path)
    models.save_model(denoiser(), "mine.keras")
    assert watermark(capsys, "keygen", "--size=16", "--out=k.npz")[0] == 0
    return tmp_path


@pytest.mark.parametrize(("inside", "code", "last", "why"), [
    ("pass", 0, "sys.exit(main())", "ask.py does not run (it calls sys.exit(0))"),
    ("pass", None, "sys.exit(main())", "ask.py does not run (it calls sys.exit(None))"),
    ("pass", 1, "raise SystemExit(main())", "ask.py does not run (it calls sys.exit(1))"),
    ("sys.exit()", 0, "", "ask.py:restore does not answer images of shape [1, 16, 16, 1] (it calls sys.exit(None))"),
    ("sys.exit('quota used up')", 0, "", "[1, 16, 16, 1] (it calls sys.exit('quota used up'))")])
def test_a_function_that_exits_gives_no_verdict(inside, code, last, why, mine, capsys):
    (mine / "ask.py").write_text(EXITS.format(inside, code, last))
    for more in ([], ["--suspect=mine.keras"]):  # alone, and in a table
        done, said, error = watermark(capsys, "verify", "--suspect=ask.py:restore", *more, "--key=k.npz",
                                      "--null_keys=9", "--shifts=0")
        told = [line for line in error.splitlines() if not line.startswith("note: ")]
        assert done == 2 and why in (said if more else error) and (more or len(told) == 1), error


@pytest.mark.parametrize("command", [
    ("embed", "--images=photos", "--key=k.npz", "--out=m.keras"), ("inspect",), ("verify", "--key=k.npz"),
    ("export", "--out=m.tflite"), ("attack", "--kind=prune", "--out=m.keras")])
def test_layers_that_exit_are_a_failure(command, mine, capsys):
    (mine / "lay.py").write_text(f"{LAYERS}\nraise SystemExit(0)\n")
    which = "--suspect=mine.keras" if command[0] == "verify" else "--model=mine.keras"
    code, said, error = watermark(capsys, *command, which, "--custom_objects=lay.py")
    assert (code, said, error) == (2, "", "error: lay.py fails: SystemExit: it calls sys.exit(0)\n")
    assert not list(mine.glob("m.*"))


@pytest.mark.parametrize("where", ["__init__", "call"])
def test_a_layer_that_exits_later_is_one_too(where, mine, capsys):
    """When it is made, and when it is called with more than shapes."""
    (mine / "lay.py").write_text(LAYERS)
    models.register_objects("lay.py")
    image = keras.Input((None, None, 4))
    keras.Model(image, keras.saving.get_custom_objects()["DepthToSpace"](2)(image)).save("own.keras")
    before = f"def {where}(self, {'x' if where == 'call' else 'factor, **kwargs'}):\n"
    (mine / "lay.py").write_text(LAYERS.replace(before, f"{before}        raise SystemExit(0)\n", 1))
    code, said, error = watermark(capsys, "verify", "--suspect=own.keras", "--key=k.npz", "--custom_objects=lay.py")
    assert code == 2 and not said and "it calls sys.exit(0)" in error and error.count("\n") == 1
