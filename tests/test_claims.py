"""Claims at the command line: what forgers get, what a folder of answers needs, and what a kill leaves behind."""

import dataclasses
import json
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest

from watermark import cli, commitments, evidence, files, interrogation, keys, models, training
from watermark.cli import embed as verb
from watermark.cli import keygen, many
from watermark.cli import verify as asking
from watermark.states import State
from watermark.suspects.folder import query_name


def watermark(capsys, *arguments):
    """(exit code, stdout, stderr) of a command."""
    code = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def home(owned, tmp_path):
    """An owner's folder: host.keras and marked.keras, the marked one's key.npz, its commitment before embedding."""
    before = keys.with_verification(owned.key, owned.key.initial)
    models.save_model(owned.host, tmp_path / "host.keras")
    models.save_model(owned.marked, tmp_path / "marked.keras")
    keys.save_key(owned.key, tmp_path / "key.npz")
    keys.save_key(before, tmp_path / "before.npz")
    commitments.save_commitment(commitments.commit(before), tmp_path / "key.commitment.json")
    return tmp_path


# --- forgers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["host", "marked"])
def test_a_forger_with_the_network_in_hand(model, home, capsys):
    """Exit code 0 for no forgery, by no flag, and a line that says why."""
    suspect, key = f"--suspect={home}/{model}.keras", home / "forged.npz"
    commitment = f"--commitment={home}/forged.commitment.json"
    for by, owner, why in (("draw", "Eve", "mark was not found"), ("draw", "", "not derived|mark was not found"),
                           ("gradient", "", "not derived from an owner's name|not what the bare seed"),
                           ("gradient", "Eve", "does not follow from the owner's name"),
                           ("declare", "", "S₀ is not"), ("declare", "Eve", "S₀ is not")):
        for path in home.glob("forged.*"):
            path.unlink()
        assert watermark(capsys, "attack", "--kind=forge", f"--by={by}", "--size=16", f"--owner={owner}",
                         f"--model={home}/{model}.keras", f"--out={key}")[0] == 0
        for flags in ([], ["--rule=threshold"], [commitment], ["--bare_seed=forger 0", "--null_keys=20"]):
            code, said, error = watermark(capsys, "verify", suspect, f"--key={key}", *flags)
            assert code in (1, 2) and not said.startswith("FOUND") and re.search(why, said + error), (by, owner, flags)
    code, *_ = watermark(capsys, "verify", suspect, f"--key={home}/key.npz",
                         f"--commitment={home}/key.commitment.json")
    assert code == (model == "host")  # the owner's claim stands on the marked one


@pytest.mark.parametrize("verb", [("verify", "--suspect={0}/host.keras"), ("inspect",),
                                  ("export", "--model={0}/host.keras"),
                                  ("embed", "--model={0}/host.keras", "--images={0}")])
def test_a_made_up_key_is_refused_at_every_door(verb, home, capsys):
    watermark(capsys, "attack", "--kind=forge", "--by=declare", "--size=16", f"--model={home}/host.keras",
              f"--out={home}/forged.npz")
    flag = "--file" if verb[0] == "inspect" else "--key"
    out = [f"--out={home}/out.keras"] if verb[0] in ("export", "embed") else []
    code, _, said = watermark(capsys, *(part.format(home) for part in verb), f"{flag}={home}/forged.npz", *out)
    assert code == 2 and "S₀ is not what the gradient operator makes of K" in said and said.count("\n") == 1
    assert not (home / "out.keras").exists()


def test_bare_seeds_need_to_be_named(home, capsys):
    keys.save_key(keys.make_key(0, size=16), home / "bare.npz")
    suspect = f"--suspect={home}/host.keras"
    assert "not derived" in watermark(capsys, "verify", suspect, f"--key={home}/bare.npz")[1]
    said = watermark(capsys, "verify", suspect, f"--key={home}/bare.npz", "--bare_seed=1")[1]
    assert "bare seed that was named" in said
    said = watermark(capsys, "verify", suspect, f"--key={home}/bare.npz", "--bare_seed=0")[1]
    assert said.startswith("NOT FOUND: The owner's mark was not found")
    keys.save_key(keys.make_key("my dog", size=16), home / "pet.npz")
    _, told, _ = watermark(capsys, "verify", suspect, f"--key={home}/pet.npz", "--bare_seed=my dog", "--json",
                           "--null_keys=20", f"--report={home}/bare.html")  # K follows from it, whoever reads it
    assert "my dog" not in told + (home / "bare.html").read_text() and "--bare_seed=…" in json.loads(told)["command"]
    code, _, said = watermark(capsys, "embed", f"--model={home}/host.keras", f"--key={home}/bare.npz",
                              f"--images={home}", f"--out={home}/o.keras")
    assert code == 2 and "nothing could be claimed with this key" in said
    out = (f"--model={home}/host.keras", f"--out={home}/out.keras")
    keys.save_key(keys.make_key("a secret", size=16, channels=3, owner="Ada"), home / "colour.npz")
    for key, flags, why in (("bare", (), "name it: bare_seed=…, --bare_seed=SEED"),
                            ("bare", ("--bare_seed=1",), "bare seed that was named"),
                            ("colour", (), "the model has 1 channels")):
        code, _, said = watermark(capsys, "export", *out, f"--key={home}/{key}.npz", *flags)
        assert code == 2 and why in said and said.count("\n") == 1 and not (home / "out.keras").exists()
    code, said, _ = watermark(capsys, "export", *out, f"--key={home}/bare.npz", "--bare_seed=0", "--null_keys=20")
    assert code == 1 and "the mark is NOT found in it" in said and (home / "out.keras").exists()
    code, _, said = watermark(capsys, "keygen", "--size=8", f"--out={home}/small.npz")
    assert code == 2 and "fewer than 256" in said and not (home / "small.npz").exists()


# --- several keys -----------------------------------------------------------------------------------------------------


def test_several_keys_on_one_suspect(owned, home, capsys):
    other = keys.make_key("another secret", size=16, owner="Eve")
    keys.save_key(other, home / "eve.npz")
    commitments.save_commitment(commitments.commit(other), home / "eve.json")
    pair = f"--key={home}/key.npz,{home}/eve.npz"
    both = f"--commitment={home}/key.commitment.json,{home}/eve.json"
    code, said, _ = watermark(capsys, "verify", f"--suspect={home}/marked.keras", pair, both,
                              f"--report={home}/report.html")
    assert code == 0 and "Only the claim of 'Ada'" in said and "'Eve' (key" in said and "NOT FOUND" in said
    assert "Other claims on the same suspect" in (home / "report.html").read_text()
    code, said, _ = watermark(capsys, "verify", f"--suspect={home}/marked.keras", "--json",
                              f"--key={home}/eve.npz,{home}/key.npz")
    result = json.loads(said)
    assert code == 1 and [claim["owner"] for claim in result["claims"]] == ["Eve", "Ada"]
    eve, ada = result["claims"]  # first of 1001, and each of the two keys was a try
    assert not any("looked for" in note for note in ada["notes"])  # found as it stands
    assert any("in 43 ways" in note and "p is 86 times that of one, of 2 keys," in note for note in eve["notes"])
    assert ada["tries"] == 2 and ada["p_value"] == pytest.approx(2 / 1001)
    assert ada["z_needed"] == pytest.approx(evidence.z_needed(1000, 1e-9 / 2))
    assert result["prevails"] == commitments.commit(owned.key)["key"] and "Only" in result["decision"]
    assert len({claim["fresh_seed"] for claim in result["claims"]}) == 1  # so that one command repeats them all
    again = json.loads(watermark(capsys, *shlex.split(result["claims"][0]["command"])[1:], "--json")[1])
    assert [claim["z_score"] for claim in again["claims"]] == [claim["z_score"] for claim in result["claims"]]
    for flags, why in (([pair, f"--commitment={home}/eve.json"], "1 files for 2 keys"),
                       ([pair, both, f"--timestamp={home}/eve.json"], "--tsa_roots"),
                       ([pair, f"--write_queries={home}/q"], "one --key")):
        code, _, said = watermark(capsys, "verify", f"--suspect={home}/marked.keras", *flags)
        assert code == 2 and why in said


# --- a folder of answers ----------------------------------------------------------------------------------------------


def _answer(questions, answers, model):
    """Someone else runs the queries and passes on what lies beside them."""
    answers.mkdir()
    for question in questions.glob("*.npy"):
        np.save(answers / question.name, model(np.load(question)[None]).numpy()[0])


def test_a_folder_of_an_unmarked_networks_answers_shows_no_mark(owned, home, capsys):
    """It has no answers to K turned, and is not asked for them."""
    key, q, a = f"--key={home}/key.npz", home / "q", home / "a"
    assert watermark(capsys, "verify", key, f"--write_queries={q}")[0] == 0
    _answer(q, a, owned.host)
    shutil.copy(q / asking.FRESH, a)
    code, said, _ = watermark(capsys, "verify", key, f"--suspect={a}", "--json")
    assert code == 1 and json.loads(said)["tries"] == 14
    assert watermark(capsys, "verify", key, f"--suspect={a}")[1].startswith("NOT FOUND")


def test_questions_and_answers_agree_on_fresh_keys_that_nobody_else_can_compute(owned, home, capsys):
    key, q, a = f"--key={home}/key.npz", home / "q", home / "a"
    assert watermark(capsys, "verify", key, f"--write_queries={q}")[0] == 0
    assert len(list(q.glob("*.npy"))) == asking.QUERIES_NULL_KEYS + 1
    assert len({path.stat().st_mtime for path in q.glob("*.np*")} | {path.stat().st_mtime for path in q.glob("*.png")}
               ) == 1  # no date tells the trigger, which was drawn first
    code, _, said = watermark(capsys, "verify", key, f"--write_queries={q}")
    assert code == 2 and "no empty folder" in said  # two sets would have the trigger in common
    told = (q / "README.txt").read_text()  # for who is to answer
    assert told.startswith("101 questions") and "16 rows by 16 columns" in told and asking.FRESH in told
    _answer(q, a, owned.marked)
    code, _, said = watermark(capsys, "verify", key, f"--suspect={a}")
    assert code == 2 and "fresh.json" in said
    shutil.copy(q / asking.FRESH, a)
    page = home / "answers.html"
    code, said, _ = watermark(capsys, "verify", key, f"--suspect={a}", "--json", f"--report={page}")
    result = json.loads(said)
    assert code == 0 and result["null_keys"] == 100 and result["suspect_form"] == "folder of response images"
    for text in (result["statement"], page.read_text(), watermark(capsys, "verify", key, f"--suspect={a}")[1]):
        assert "mark is in the answers that were handed in" in text
    for text in (" ".join(result["notes"]), page.read_text()):
        assert "can have put S there" in text and "a seed that was named" in text
    assert "If the suspect is younger" not in page.read_text()
    assert watermark(capsys, "verify", key, f"--suspect={a}", "--null_keys=50")[0] == 0  # fewer were asked too
    (a / asking.FRESH).unlink()
    code, said, _ = watermark(capsys, "verify", key, f"--suspect={a}", f"--fresh_seed={result['fresh_seed']}")
    assert code == 0
    code, said, _ = watermark(capsys, "verify", key, f"--suspect={a}", "--null_keys=0")
    assert code == 1 and said.startswith("INCONCLUSIVE") and "fewer than 20 are no evidence" in said
    # What is in the folder does not tell the trigger from the fresh keys.
    told = json.loads((q / asking.FRESH).read_text())
    for seed in told.values():
        assert not (q / f"{query_name(keys.random_keys(owned.key.kind, 1, seed)[0][0])}.npy").exists()
    counts = {f'{{"null_keys": {count}, "nonce": 1}}': why for count, why in (
        ('"x"', "fresh.json"), ("Infinity", "fresh.json"), ("-Infinity", "fresh.json"), ("NaN", "fresh.json"),
        ("-5", "fresh.json"), ("1e300", "holds no answer"))}
    for hostile, why in (dict.fromkeys(["[" * 900, "{}", "x" * 5000], "fresh.json") | counts).items():
        (a / asking.FRESH).write_text(hostile)
        code, _, said = watermark(capsys, "verify", key, f"--suspect={a}")
        assert code == 2 and why in said and said.count("\n") == 1, said


@pytest.mark.parametrize("flag", ["commitment", "timestamp", "key", "suspect"])
def test_an_empty_variable_is_no_check_left_out(flag, home, capsys):
    """--commitment="$C" of a script whose C is not set."""
    files = {"key": "key.npz", "suspect": "marked.keras", "commitment": "key.commitment.json"}
    flags = {name: f"{home}/{file}" for name, file in files.items()} | {flag: ""}
    code, said, error = watermark(capsys, "verify", *(f"--{name}={value}" for name, value in flags.items()))
    assert code == 2 and not said and f"--{flag}=: expected a value" in error


def test_a_report_does_not_tell_which_question_was_the_trigger(owned, home, capsys):
    """To who has both, the questions and the seed that the report names: none of them follows from it."""
    q, a, key = home / "q", home / "a", f"--key={home}/key.npz"
    assert watermark(capsys, "verify", key, f"--write_queries={q}", "--null_keys=100")[0] == 0
    _answer(q, a, owned.marked)
    shutil.copy(q / asking.FRESH, a)
    code, said, _ = watermark(capsys, "verify", key, f"--suspect={a}", "--json")
    result = json.loads(said)
    drawn = keys.random_keys(owned.key.kind, 100, result["fresh_seed"])[0]
    assert code == 0 and not any((q / f"{query_name(K)}.npy").exists() for K in drawn)
    again = json.loads(watermark(capsys, *shlex.split(result["command"])[1:], "--json")[1])
    assert again["z_score"] == result["z_score"] and again["fresh_seed"] == result["fresh_seed"]


@pytest.mark.parametrize("flags", [[], ["--null_keys=40"]])
def test_who_answers_cannot_change_the_number_of_fresh_keys(flags, owned, home, capsys):
    """Fewer would be weaker evidence."""
    q, a, key = home / "q", home / "a", f"--key={home}/key.npz"
    watermark(capsys, "verify", key, f"--write_queries={q}", "--null_keys=40")
    _answer(q, a, owned.marked)
    told = json.loads((q / asking.FRESH).read_text())
    (a / asking.FRESH).write_text(json.dumps(told | {"null_keys": 20}))
    code, _, said = watermark(capsys, "verify", key, f"--suspect={a}", *flags)
    assert code == 2 and ("is it as --write_queries left it" if flags else "holds no answer") in said


def test_two_keys_have_no_fresh_keys_in_common(owned, home, capsys):
    """Else the second key's K would be all that a service had not been asked before, and it could spoil that answer."""
    (home / "ask.py").write_text("import pathlib\n\n\ndef answer(x):\n    with open(pathlib.Path(__file__).with_name("
                                 "'asked'), 'ab') as file:\n        file.write(x.tobytes())\n    return x\n")
    keys.save_key(keys.make_key("another secret", size=16, owner="Eve"), home / "eve.npz")
    for pair in ([f"--key={home}/key.npz,{home}/eve.npz"], [f"--key={home}/key.npz", f"--key={home}/eve.npz"],):
        (home / "asked").unlink(missing_ok=True)
        watermark(capsys, "verify", f"--suspect={home}/ask.py:answer", *pair, "--null_keys=20", "--shifts=0")
        asked = np.fromfile(home / "asked", np.float32).reshape(-1, 256)
        assert len(asked) >= 42 and len(np.unique(asked, axis=0)) == len(asked)


def test_nor_have_two_keys_of_bare_seeds(owned):
    drawn = {keys.uniform(f"{interrogation.drawn_from('a', keys.make_key(seed))} 0", (9,)).tobytes() for seed in (0, 1)}
    assert len(drawn) == 2
    label = interrogation.null_label(key := keys.make_key(0))
    assert interrogation.drawn_from(label, key) == label  # the tables'


def test_questions_go_into_an_empty_folder_that_is_there(home, capsys, monkeypatch):
    """As a mounted one, which cannot be replaced."""
    (home / "q").mkdir()
    before = (home / "q").stat().st_ino
    monkeypatch.chdir(home / "q")
    code, said, _ = watermark(capsys, "verify", f"--key={home}/key.npz", "--write_queries=.", "--null_keys=20",
                              "--fresh_seed=a b; c")
    assert code == 0 and "--fresh_seed='a b; c' --null_keys=20" in said and (home / "q").stat().st_ino == before
    assert "--fresh_seed='a b; c'" in (home / "q" / "README.txt").read_text()
    assert len(list((home / "q").glob("*.npy"))) == 21 and len(list((home / "q").iterdir())) == 43


def test_a_name_that_is_no_text_loses_no_report(owned, home, capsys):
    """Linux takes any bytes for a name."""
    suspect = home / "caf\udce9.keras"
    try:
        shutil.copy(home / "marked.keras", suspect)
    except OSError:
        pytest.skip("this file system takes text only")
    code, said, _ = watermark(capsys, "verify", f"--suspect={suspect}", f"--key={home}/key.npz", "--json",
                              f"--report={home}/page.html")
    assert code == 0 and json.loads(said)["suspect"].endswith("caf\\udce9.keras")
    assert "caf" in (home / "page.html").read_text(encoding="utf-8")


def test_questions_do_not_tell_which_is_the_trigger(home, capsys):
    """Whoever has the folder draws a fresh key from each image as if it were K, and finds none but by the secret."""
    folder, key = home / "questions", keys.load_key(home / "key.npz")
    assert watermark(capsys, "verify", f"--key={home}/key.npz", f"--write_queries={folder}", "--null_keys=20")[0] == 0
    images = {path: np.load(path) for path in folder.glob("*.npy")}
    nonce = f"{json.loads((folder / asking.FRESH).read_text())['nonce']}-20"
    there = {image.tobytes() for image in images.values()}

    def fits(owner, secret):
        return [image for image in images.values() if keys.random_keys(key.kind, 1, interrogation.drawn_from(
            nonce, dataclasses.replace(key, trigger=image, owner=owner, secret=secret)))[0][0].tobytes() in there]

    assert len(images) == 21 and not fits("", "") and not fits(key.owner, "")
    assert [image.tobytes() for image in fits(key.owner, key.secret)] == [key.trigger.tobytes()]


@pytest.mark.parametrize("count", [0, 1, 19])
def test_who_answers_cannot_lower_the_number_of_fresh_keys_to_none(count, home, capsys):
    questions, answers = home / "questions", home / "answers"
    key, model = f"--key={home}/key.npz", models.load_model(home / "marked.keras")
    assert watermark(capsys, "verify", key, f"--write_queries={questions}", "--null_keys=100")[0] == 0
    answers.mkdir()
    for path in questions.glob("*.npy"):
        np.save(answers / path.name, np.asarray(model(np.load(path)[None]))[0])
    told = json.loads((questions / asking.FRESH).read_text())
    (answers / asking.FRESH).write_text(json.dumps(told))
    code, said, error = watermark(capsys, "verify", key, f"--suspect={answers}")
    assert code == 0 and many.NAMED in error
    (answers / asking.FRESH).write_text(json.dumps(told | {"null_keys": count}))
    code, said, error = watermark(capsys, "verify", key, f"--suspect={answers}")
    assert code == 2 and f"tells of {count} fresh keys" in error


@pytest.mark.parametrize("owner", ["", " ", "Eve\x1b[2J", "Eve\u202e", "\ud800", "Eve\nAda", "a" * 201])
def test_an_owner_has_a_name_that_can_be_printed(owner, tmp_path, capsys):
    code, _, said = watermark(capsys, "keygen", f"--owner={owner}", f"--out={tmp_path}/key.npz")
    assert code == 2 and any(why in said for why in ("expected a name", "is a variable empty", "without line ends"))
    assert not list(tmp_path.iterdir())


def test_the_next_commitment_is_signed_as_the_first(home, caplog):
    """By the private key beside it; a certificate there, another's key and damage do not keep it from being found."""
    first = home / "key.commitment.json"
    assert keygen.signer(None, home / "key.npz") is None  # the first is not signed
    private = commitments.make_signing_key(home / "z.pem")
    commitments.make_signing_key(home / "another.pem")
    (home / "damaged.pem").write_text("-----BEGIN CERTIFICATE-----")
    first.write_text(json.dumps(commitments.sign(commitments.load_commitment(first), private)))
    found = keygen.signer(None, home / "key.npz")
    assert found.public_key() == private.public_key()
    with pytest.raises(ValueError, match="another key than the one that signed"):
        keygen.signer(home / "another.pem", home / "key.npz")
    (home / "z.pem").unlink()
    assert keygen.signer(None, home / "key.npz") is None and "--sign=PEM gives it one" in caplog.text


# --- kills, and two at a time -----------------------------------------------------------------------------------------


class Killed(BaseException):
    """What nothing catches."""


@pytest.fixture
def kill_after(monkeypatch):
    """A function that has the process die right after the file of that name has its place; None: nothing dies."""
    target = []

    def wrapped(real):
        def move(temporary, path, *rest, **options):
            real(temporary, path, *rest, **options)
            if str(path).endswith(tuple(target)):
                raise Killed(path)

        return move

    for name in ("link", "replace"):
        monkeypatch.setattr(files.os, name, wrapped(getattr(files.os, name)))
    return lambda name: target.__setitem__(slice(None), [name] if name else [])


def test_a_keygen_killed_after_any_file_is_completed_by_the_same_command(kill_after, tmp_path, capsys):
    command = ("keygen", "--size=16", "--owner=Ada", f"--out={tmp_path}/k.npz", f"--sign={tmp_path}/ada.pem")
    seen = {}
    for name in ("ada.pem", "k.npz", "k.commitment.json", "k.commitment.tsq"):
        kill_after(name)
        with pytest.raises(Killed):
            watermark(capsys, *command)
        secrets = {path: path.read_bytes() for path in (tmp_path / "ada.pem", tmp_path / "k.npz") if path.exists()}
        assert seen.items() <= secrets.items()  # nothing that was written is lost
        seen = secrets
    kill_after(None)
    assert watermark(capsys, *command)[0] == 2  # it was complete
    (tmp_path / "k.commitment.tsq").unlink()
    assert watermark(capsys, *command)[0] == 0
    assert {path: path.read_bytes() for path in seen} == seen and len(seen) == 2
    key, commitment = keys.load_key(tmp_path / "k.npz"), commitments.load_commitment(tmp_path / "k.commitment.json")
    assert all(finding.holds for finding in commitments.check(key, commitment)) and "signature" in commitment
    (tmp_path / "k.commitment.tsq").unlink()
    assert watermark(capsys, *command[:2], "--owner=Eve", *command[3:])[0] == 2  # not the same command
    (tmp_path / "k.npz").rename(tmp_path / "away.npz")
    code, _, said = watermark(capsys, *command)
    assert code == 2 and "of another key" in said and not (tmp_path / "k.npz").exists()


@pytest.fixture
def embedding(owned, home, monkeypatch):
    """An `embed` command whose training takes no time: it gives the marked network of `owned`."""

    def train(values, model, one, key, *rest):
        State(verb.training_of(values, key), []).save([{"step": values.steps}], now=True)
        return owned.marked

    monkeypatch.setattr(verb, "train", train)
    monkeypatch.setattr(verb.common, "read_task", lambda values, one: (None, []))
    monkeypatch.setattr(verb, "cost", lambda *rest: "cost")
    return ("embed", f"--model={home}/host.keras", f"--key={home}/before.npz", f"--out={home}/out.keras",
            f"--sign={home}/ada.pem")


def test_an_embed_killed_after_any_file_is_completed_by_the_same_command(kill_after, embedding, home, capsys):
    for name in ("ada.pem", "out.keras", "before.npz", "before.marked.commitment.json", "before.marked.commitment.tsq"):
        kill_after(name)
        with pytest.raises(Killed):
            watermark(capsys, *embedding)
    kill_after(None)
    assert watermark(capsys, *embedding)[0] == 0 and not (home / "out.run").exists()
    key = keys.load_key(home / "before.npz")
    commitment = commitments.load_commitment(home / "before.marked.commitment.json")
    assert commitment["mark"] and all(finding.holds for finding in commitments.check(key, commitment))
    code, _, said = watermark(capsys, *embedding)
    assert code == 2 and "marks a model already" in said
    assert watermark(capsys, "verify", f"--suspect={home}/out.keras", f"--key={home}/before.npz",
                     f"--commitment={home}/before.marked.commitment.json")[0] == 0


def test_embed_runs_the_check_of_a_claim(embedding, home, capsys, monkeypatch):
    """It refuses what verify --commitment would refuse, with both bars, and warns when near."""
    monkeypatch.setattr(verb, "NEAR", 10.0)
    with monkeypatch.context() as weak:
        weak.setattr(commitments, "FAITHFUL", 0.9999)
        code, _, said = watermark(capsys, *embedding)
        assert code == 2 and "did not take: ρ = 0.99" in said and "6.1 needed" in said
        assert not (home / "out.keras").exists() and not keys.load_key(home / "before.npz").embedded
    code, said, _ = watermark(capsys, *embedding)
    assert code == 0 and "WARNING: the mark is hardly enough" in said and "6.1 needed" in said


def test_one_process_at_a_time_has_a_key(embedding, home, capsys):
    with files.exclusive(home / "before.npz", ""), files.exclusive(home / "new.npz", ""):
        code, _, said = watermark(capsys, *embedding)
        assert code == 2 and "being embedded by another process" in said
        code, _, said = watermark(capsys, "keygen", f"--out={home}/new.npz")
        assert code == 2 and "being written by another" in said and not (home / "new.npz").exists()
    assert watermark(capsys, *embedding)[0] == 0 and not list(home.glob(".*"))


def test_two_keygens_at_once_make_one_key(tmp_path):
    command = [sys.executable, "-m", "watermark", "keygen", f"--out={tmp_path}/k.npz"]
    pair = [subprocess.Popen([*command, f"--sign={tmp_path}/a.pem"], stderr=subprocess.PIPE, text=True)
            for _ in range(2)]
    errors = [process.communicate()[1] for process in pair]
    assert sorted(process.returncode for process in pair) == [0, 2] and sum(map(len, errors)) > 0
    key, commitment = keys.load_key(tmp_path / "k.npz"), commitments.load_commitment(tmp_path / "k.commitment.json")
    assert all(finding.holds for finding in commitments.check(key, commitment)) and "signature" in commitment


def test_ctrl_c_while_embedding_says_at_which_step(embedding, home, capsys, monkeypatch):
    def stopped(*rest):
        raise training.Stopped("embedding: stopped after step 7 of 300")

    monkeypatch.setattr(verb, "train", stopped)
    code, said, error = watermark(capsys, *embedding)
    assert code == 130 and error == "embedding: stopped after step 7 of 300; the same command goes on there\n"
    assert not keys.load_key(home / "before.npz").embedded
