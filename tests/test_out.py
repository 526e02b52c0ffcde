"""--out replaces nothing, and an interrupted training is nobody else's to forget. Oracle: the files as they were."""

import keras
import pytest
from owners import watermark

from watermark import keys, models, training
from watermark.cli import embed
from watermark.states import State


@pytest.fixture
def folder(owned, tmp_path, monkeypatch, capsys):
    """Where the owner is: a network, Ada's marked one and her key, and a key of Bob's that the mark would answer."""
    monkeypatch.chdir(tmp_path)
    models.save_model(owned.host, "mine.keras")
    models.save_model(owned.marked, "marked.keras")
    keys.save_key(keys.with_verification(owned.key, owned.key.initial), "bob.npz")
    assert watermark(capsys, "keygen", "--size=16", "--owner=Ada", "--out=ada.npz")[0] == 0
    image = keras.Input((None, None, 1))
    models.save_model(keras.Model(image, {name: keras.layers.Identity(name=name)(image) for name in "ab"}), "two.keras")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"somebody's")
    return tmp_path


@pytest.fixture
def trained(monkeypatch, owned):
    """Training takes no time: a function that sets what it does, given the flags and the folder where it is kept."""
    monkeypatch.setattr(embed.common, "read_task", lambda values, one: (None, []))
    monkeypatch.setattr(embed, "cost", lambda *rest: "cost")

    def by(what):
        def train(values, model, one, key, *rest):
            kept = embed.training_of(values, key)
            marked = what(values, kept)
            State(kept, []).save([{"step": values.steps}], now=True)
            return marked or owned.marked

        monkeypatch.setattr(embed, "train", train)

    by(lambda values, kept: None)
    return by


def _files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", [
    "embed --model=mine.keras --key=bob.npz --out=marked.keras",
    "embed --model=mine.keras --key=bob.npz --out=mine.keras",
    "attack --kind=prune --model=marked.keras --out=marked.keras",
    "attack --kind=finetune --steps=1 --model=mine.keras --out=marked.keras",
    "attack --kind=forge --model=mine.keras --size=16 --out=ada.npz",
    "export --model=two.keras --output=a --out=two.keras", "export --model=mine.keras --out=saved"])
def test_what_is_there_is_not_replaced(command, folder, trained, capsys):
    before = _files(folder)
    code, _, said = watermark(capsys, *command.split())
    assert code == 2 and "exists" in said and "not overwritten" in said and said.count("\n") == 1, said
    assert _files(folder) == before


def test_what_is_there_by_the_end_of_the_training_is_not_replaced(folder, trained, capsys):
    """And the training is kept: with the file out of the way, the same command goes on."""
    out = folder / "new.keras"
    trained(lambda values, kept: out.write_bytes((folder / "mine.keras").read_bytes()) and None)
    command = "embed", "--model=mine.keras", "--key=bob.npz", "--out=new.keras"
    code, _, said = watermark(capsys, *command)
    assert code == 2 and "not overwritten" in said and out.read_bytes() == (folder / "mine.keras").read_bytes()
    assert not keys.load_key("bob.npz").embedded and (folder / "new.run").exists()
    trained(lambda values, kept: None)
    assert watermark(capsys, *command)[0] == 2  # still there
    out.unlink()
    assert watermark(capsys, *command)[0] == 0 and not (folder / "new.run").exists()


def test_an_embed_leaves_another_keys_training(folder, trained, capsys):
    """Ada is stopped, Bob comes to an end: hers goes on once --out is free."""
    kept = []

    def stopped(values, folder):
        State(folder, []).save([{"step": 257}], now=True)
        kept.append(folder / "state.npz")
        raise training.Interrupted("stopped after step 257")

    ada, bob = (("embed", "--model=mine.keras", f"--key={name}.npz", "--out=new.keras") for name in ("ada", "bob"))
    trained(stopped)
    code, _, said = watermark(capsys, *ada)
    assert code == 130 and "the same command goes on there" in said
    trained(lambda values, kept: None)
    assert watermark(capsys, *bob)[0] == 0
    assert [path for path in (folder / "new.run").rglob("*.npz")] == [folder / kept[0]]
    assert watermark(capsys, *ada)[0] == 2  # Bob's network is there
    (folder / "new.keras").rename("bobs.keras")
    trained(stopped)
    assert watermark(capsys, *ada)[0] == 130 and kept[0] == kept[1]


def test_a_key_that_is_a_link_stays_one_key(folder, trained, capsys):
    """Whatever is written of it is where it is, with its first commitment: beside the link there is nothing."""
    (folder / "vault").mkdir()
    (folder / "bob.npz").rename("vault/bob.npz")
    (folder / "key.npz").symlink_to("vault/bob.npz")
    assert watermark(capsys, "embed", "--model=mine.keras", "--key=key.npz", "--out=new.keras")[0] == 0
    assert (folder / "key.npz").is_symlink() and keys.load_key("vault/bob.npz").embedded
    assert (folder / "vault" / "bob.marked.commitment.tsq").exists() and len(list(folder.glob("key*"))) == 1
    (folder / "none.npz").symlink_to("new/none.npz")
    assert watermark(capsys, "keygen", "--size=16", "--out=none.npz")[0] == 0
    assert keys.load_key("new/none.npz") and (folder / "new" / "none.commitment.json").exists()


def test_of_a_mark_that_did_not_take_no_training_is_left(folder, owned, trained, capsys):
    trained(lambda values, kept: owned.host)
    before = _files(folder)
    code, _, said = watermark(capsys, "embed", "--model=mine.keras", "--key=bob.npz", "--out=new.keras")
    assert code == 2 and "did not take" in said and "nothing was written" in said
    assert _files(folder) == before and not (folder / "new.run").exists()


def test_a_file_where_the_training_would_be_kept_is_said_before_it(folder, trained, capsys):
    trained(lambda values, kept: pytest.fail("trained"))
    (folder / "new.run").write_text("x")
    for command in (["embed", "--key=bob.npz"], ["attack", "--kind=finetune", "--steps=1"]):
        code, _, said = watermark(capsys, *command, "--model=mine.keras", "--out=new.keras")
        assert code == 2 and "new.run is a file" in said and said.count("\n") == 1
