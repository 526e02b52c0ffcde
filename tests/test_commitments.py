"""Claims made up afterwards are refused. Oracles: OpenSSL as a time-stamp authority, RFC 8032's verification."""

import json
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from watermark import attacks, blackbox, cli, commitments, der, judgement, keys, models, verification
from watermark.attacks import forging


def _failed(key, commitment):
    return {finding.name for finding in commitments.check(key, commitment) if not finding.holds}


def test_an_honest_claim_stands(owned):
    before = commitments.commit(keys.with_verification(owned.key, owned.key.initial))
    after = commitments.commit(owned.key)
    assert before["mark"] is None and after["mark"] is not None and before["key"] == after["key"]
    assert _failed(owned.key, before) == _failed(owned.key, after) == set()
    findings = commitments.check(owned.key, before)
    judged = judgement.judge(owned.marked, owned.key, null_keys=100, findings=findings, unmarked=owned.host)
    assert judged.stands and judged.unmarked[0] == 0.0


def test_commitments_show_nothing_of_the_key(owned):
    text = str(commitments.commit(owned.key))
    assert owned.key.secret not in text and len(text) < 400


# The best of 20 keys is first of 200 fresh ones in one draw of eleven, which is "inconclusive": not in this draw.
FRESH = {"fresh_seed": "a verifier's"}


@pytest.mark.parametrize("tries", [1, 20])
def test_a_forged_claim_is_refused(tries, owned):
    """The paper's rule accepts it, distance 0; neither rule does here, and the words say why."""
    forged = attacks.forge(owned.host, "mallory", tries=tries, owner="Mallory", size=16)
    findings = commitments.check(forged, commitments.commit(forged))
    for rule in judgement.RULES:
        judged = judgement.judge(owned.host, forged, null_keys=200, findings=findings, rule=rule, **FRESH)
        assert judged.verdict.within_threshold and judged.verdict.distance < 1e-6
        assert not judged.found and not judged.stands and judged.outcome == "not found"
        assert "declared to be a mark afterwards" in judged.statement
        assert not judgement.judge(owned.host, forged, null_keys=200, rule=rule, **FRESH).found
    assert {f.name for f in findings if not f.holds} == {"embedded"}


def test_a_forged_claim_on_a_marked_model_is_refused(owned):
    forged = attacks.forge(owned.marked, "mallory", owner="Mallory", size=16)
    assert "embedded" in _failed(forged, commitments.commit(forged))
    assert not verification.verify(owned.marked, forged, null_keys=200).evident


@pytest.mark.parametrize("owner", ["", "Mallory"])
@pytest.mark.parametrize(("by", "rho", "part"), [("declare", 0.999, "initial"), ("gradient", 0.6, "derived")])
def test_forgeries_that_stand_out_are_refused_at_every_door(by, rho, part, owner, owned, tmp_path):
    """S0 made up, and K found by gradient: rho and z are as high as any owner's, on a network nobody marked."""
    forged = attacks.forge(owned.host, "mallory", by=by, owner=owner, size=16)
    verdict = verification.verify(owned.host, forged, null_keys=200)
    assert verdict.rho > rho and verdict.stands_out and verdict.within_threshold and verdict.distance < 1e-6
    assert verdict.fidelity > commitments.FAITHFUL and not verdict.evident and verdict.refusal
    assert np.array_equal(forged.initial, forged.kind.generate(forged.trigger)) == (by == "gradient")
    assert not verification.verify(owned.host, forged, null_keys=200, bare_seed="mallory").evident
    commitment = commitments.commit(forged)
    assert part in _failed(forged, commitment)
    for rule in judgement.RULES:
        for findings in (None, commitments.check(forged, commitment)):
            judged = judgement.judge(owned.host, forged, null_keys=200, rule=rule, findings=findings)
            assert not judged.found and not judged.stands and judged.outcome == "not found"
            assert verdict.refusal in judged.statement and verdict.refusal in judgement.words(judged)
    keys.save_key(forged, tmp_path / "forged.npz")
    if by == "gradient" and not owner:  # a key of a bare seed, by all that the file says
        assert keys.load_key(tmp_path / "forged.npz").digest == forged.digest
    else:
        with pytest.raises(keys.KeyFileError, match="made up"):
            keys.load_key(tmp_path / "forged.npz")


def test_a_forger_by_gradient_stops_when_it_is_enough(owned):
    """One traced step for all keys, in batches; a key does not depend on those beside it. Oracle: each alone."""
    drawn = [keys.make_key(f"mallory {i}", size=32) for i in range(3)]
    found = list(forging.by_gradient(owned.host, drawn, batch=2))
    alone = next(forging.by_gradient(owned.host, drawn[2:]))
    assert len(found) == 3 and found[2].steps == alone.steps
    assert np.allclose(found[2].key.trigger, alone.key.trigger, atol=1e-2)
    for key, steps in found:
        verdict = verification.verify(owned.host, key, null_keys=50, fresh_seed="a verifier's")
        assert 0 < steps < forging.STEPS and verdict.stands_out and not verdict.evident
        assert key.trigger.min() >= 0 and key.trigger.max() < 1
    assert next(forging.by_gradient(owned.host, drawn, steps=1)).steps == 1


def test_an_s_between_the_answer_and_s0_is_refused(owned):
    """Within eta of what the unmarked network answers, and near S0 as an embedding leaves it: all findings hold."""
    key = keys.make_key("mallory", size=16, owner="Mallory")
    answer = blackbox.as_suspect(owned.host, key.kind)(key.trigger[None])[0]
    forged = keys.with_verification(key, answer + np.float32(0.4) * (key.initial - answer))
    assert _failed(forged, commitments.commit(forged)) == set()
    for rule in judgement.RULES:
        judged = judgement.judge(owned.host, forged, null_keys=200, rule=rule, fresh_seed="a")
        assert judged.verdict.within_threshold and not judged.stands and judged.outcome == "not found"


def test_no_question_is_found_by_a_commitment_nor_an_answer(owned):
    """Who has the questions and answers computes, of each, all that does not need the secret."""
    for known in (replace(owned.key, secret=""), replace(owned.key, secret="a")):
        guessed, published = commitments.commit(known), commitments.commit(owned.key)
        assert guessed["key"] != published["key"] and guessed["mark"] != published["mark"]


def test_a_commitment_of_the_first_format_holds_and_says_what_it_lacks(owned, tmp_path):
    """Its time stamp cannot be made again."""
    first = commitments.commit(owned.key, commitments.FIRST)
    assert commitments.commit(replace(owned.key, secret=""), commitments.FIRST)["key"] == first["key"]  # what it lacks
    commitments.save_commitment(first, tmp_path / "first.json")
    findings = commitments.check(owned.key, commitments.load_commitment(tmp_path / "first.json"))
    assert all(finding.holds for finding in findings) and any("without the secret" in f.why for f in findings)


def test_a_signature_of_the_first_format_holds(owned, tmp_path):
    """Oracle: the bytes that were signed then, spelt out; who signs was not among them."""
    ada, first = commitments.make_signing_key(tmp_path / "ada.pem"), commitments.commit(owned.key, commitments.FIRST)
    told = f'{{"format":"watermark-commitment-1","key":"{first["key"]}","mark":"{first["mark"]}","owner":"Ada"}}'
    public = ada.public_key().public_bytes_raw().hex()
    signed = first | {"public_key": public, "signature": ada.sign(told.encode()).hex()}
    assert commitments.signature_holds(signed) and _failed(owned.key, signed) == set()
    assert not commitments.signature_holds(signed | {"mark": first["key"]})


def test_nobody_puts_his_signature_to_anothers_stamped_commitment(owned, tmp_path):
    ada, eve = (commitments.make_signing_key(tmp_path / f"{name}.pem") for name in ("ada", "eve"))
    plain = commitments.commit(owned.key)
    stamped = {commitments._signed_part(one) for one in (
        plain, commitments.sign(plain, ada), commitments.sign(plain, eve))}
    assert len(stamped) == 3  # a stamp of one is none of another
    for public in ("01" + 62 * "0", " " * 16 + 48 * "0", "é" * 64, None):
        assert not commitments.signature_holds(commitments.sign(plain, ada) | {"public_key": public})


@pytest.mark.parametrize("taken", ["signature", "public_key"])
def test_a_signature_of_which_a_part_was_taken_away_does_not_hold(taken, owned, tmp_path):
    signed = commitments.sign(commitments.commit(owned.key), commitments.make_signing_key(tmp_path / "ada.pem"))
    assert _failed(owned.key, signed) == set()
    assert _failed(owned.key, {name: value for name, value in signed.items() if name != taken}) == {"signature"}


def test_another_keys_commitment_and_a_changed_name_are_refused(owned):
    """However old they are."""
    other = keys.make_key("a secret", size=16, owner="Adam")
    assert "key" in _failed(owned.key, commitments.commit(other))
    assert _failed(owned.key, commitments.commit(owned.key) | {"owner": "Ada "}) != set()


def test_unknown_forgeries_list_the_choices(owned):
    with pytest.raises(ValueError, match="draw, declare, gradient"):
        attacks.forge(owned.host, 0, by="magic", size=16)


def test_every_part_that_is_made_up_is_named(owned):
    commitment = commitments.commit(owned.key)
    other = keys.make_key("another", size=16, owner="Ada")
    assert {"key", "mark"} <= _failed(other, commitment)
    assert "derived" in _failed(replace(owned.key, owner="Eve"), commitment)
    assert "derived" in _failed(keys.make_key("bare seed", size=16), commitment)
    assert "initial" in _failed(replace(owned.key, initial=owned.key.initial + np.float32(0.01)), commitment)
    assert "mark" in _failed(keys.with_verification(owned.key, owned.key.verification + np.float32(0.01)), commitment)


def test_signatures(owned, tmp_path):
    private = commitments.make_signing_key(tmp_path / "owner.pem")
    assert (tmp_path / "owner.pem").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        commitments.make_signing_key(tmp_path / "owner.pem")
    signed = commitments.sign(commitments.commit(owned.key), commitments.load_signing_key(tmp_path / "owner.pem"))
    assert _failed(owned.key, signed) == set() and signed["public_key"] == private.public_key().public_bytes_raw().hex()
    assert "signature" in _failed(owned.key, signed | {"owner": "Eve"})
    assert "signature" in _failed(owned.key, signed | {"signature": "zz"})
    (tmp_path / "bad.pem").write_text("no key")
    with pytest.raises(commitments.CommitmentError, match="cannot be read as a private key"):
        commitments.load_signing_key(tmp_path / "bad.pem")


def test_files(owned, tmp_path):
    path = tmp_path / "c.json"
    commitments.save_commitment(commitments.commit(owned.key), path)
    assert commitments.load_commitment(path) == commitments.commit(owned.key)
    for content, why in (("{", "not a commitment file"), ("[1]", "of the format"), ('{"format": "other"}', "format"),
                         ('{"format": "watermark-commitment-1", "owner": 1, "key": "a"}', "texts"),
                         (" " * (commitments.LARGEST + 1), "more than")):
        path.write_text(content)
        with pytest.raises(commitments.CommitmentError, match=why):
            commitments.load_commitment(path)
    with pytest.raises(commitments.CommitmentError, match="no such"):
        commitments.load_commitment(tmp_path / "none.json")


ACCURACY = "accuracy = secs:2, millisecs:500, microsecs:100"


def _openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def _root(folder, key, path):
    """A new root of the one name, self-signed."""
    _openssl(folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", path, "-days", "2",
             "-subj", "/CN=Test root", "-config", "tsa.cnf", "-extensions", "ca")


@pytest.fixture
def authority(tmp_path):
    """A function request bytes -> response bytes, signed by an authority that OpenSSL plays; its root is root.pem."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl")
    (tmp_path / "tsa.cnf").write_text(
        "[tsa]\ndefault_tsa = t\n[t]\nserial = serial\ndefault_policy = 1.2.3.4.1\ndigests = sha256, sha512\n"
        f"signer_digest = sha256\n{ACCURACY}\ness_cert_id_alg = sha256\n"
        "[ca]\nbasicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign\n"
        "[ext]\nextendedKeyUsage = critical, timeStamping\nkeyUsage = critical, digitalSignature\n"
        "authorityKeyIdentifier = keyid\nsubjectKeyIdentifier = hash\n[req]\ndistinguished_name = dn\n[dn]\n")
    _root(tmp_path, "ca.key", "root.pem")
    _openssl(tmp_path, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", "tsa.key", "-out", "tsa.csr", "-subj",
             "/CN=Test TSA", "-config", "tsa.cnf")
    _openssl(tmp_path, "x509", "-req", "-in", "tsa.csr", "-CA", "root.pem", "-CAkey", "ca.key", "-CAcreateserial",
             "-days", "2", "-out", "tsa.pem", "-extfile", "tsa.cnf", "-extensions", "ext")
    (tmp_path / "serial").write_text("01")

    def stamp(request):
        (tmp_path / "r.tsq").write_bytes(request)
        _openssl(tmp_path, "ts", "-reply", "-queryfile", "r.tsq", "-signer", "tsa.pem", "-inkey", "tsa.key", "-out",
                 "r.tsr", "-config", "tsa.cnf", "-section", "t")
        return (tmp_path / "r.tsr").read_bytes()

    return stamp


@pytest.mark.parametrize(("said", "within"), [(ACCURACY, 2.5001), ("accuracy = millisecs:3", 1.0), ("", 1.0)])
def test_an_authoritys_clock_is_as_sure_as_it_says(said, within, owned, authority, tmp_path):
    """And as the second of its stamps at most."""
    config = (tmp_path / "tsa.cnf").read_text()
    (tmp_path / "tsa.cnf").write_text(config.replace(ACCURACY, said))
    commitment = commitments.commit(owned.key)
    authority(commitments.timestamp_request(commitment))
    finding = commitments.stamped(commitment, tmp_path / "r.tsr", tmp_path / "root.pem")
    assert finding.holds and finding.within == timedelta(seconds=within)


@pytest.mark.parametrize("chain", [("root.pem",), ("other.pem", "root.pem"), ("root.pem", "other.pem")])
def test_certificates_in_any_order_are_a_stamp(chain, owned, authority, tmp_path):
    """As OpenSSL answers with them. Oracle: its own verification. One order of the three is not DER's."""
    _root(tmp_path, "other.key", "other.pem")
    (tmp_path / "chain.pem").write_text("".join((tmp_path / name).read_text() for name in chain))
    config = (tmp_path / "tsa.cnf").read_text()
    (tmp_path / "tsa.cnf").write_text(config.replace("[t]\n", "[t]\ncerts = chain.pem\n"))
    commitment = commitments.commit(owned.key)
    answer = authority(commitments.timestamp_request(commitment))
    _openssl(tmp_path, "ts", "-verify", "-queryfile", "r.tsq", "-in", "r.tsr", "-CAfile", "root.pem")
    assert commitments.check_timestamp(commitment, answer, (tmp_path / "root.pem").read_bytes())
    ordered = der.in_order(answer)
    assert sorted(ordered) == sorted(answer) and der.in_order(ordered) == ordered
    with pytest.raises(commitments.CommitmentError):
        commitments.check_timestamp(commitment, answer[:-1], (tmp_path / "root.pem").read_bytes())


def test_a_stamp_of_an_authority_that_is_not_trusted_does_not_hold(owned, authority, tmp_path):
    """Its root is another of the same name."""
    commitment = commitments.commit(owned.key)
    authority(commitments.timestamp_request(commitment))
    _root(tmp_path, "other.key", "other.pem")
    assert commitments.stamped(commitment, tmp_path / "r.tsr", tmp_path / "root.pem").holds
    finding = commitments.stamped(commitment, tmp_path / "r.tsr", tmp_path / "other.pem")
    assert not finding.holds and finding.when is None and "does not hold" in finding.why


def test_time_stamps(owned, authority, tmp_path):
    commitment = commitments.commit(owned.key)
    response = authority(commitments.timestamp_request(commitment))
    finding = commitments.stamped(commitment, tmp_path / "r.tsr", tmp_path / "root.pem")
    root = x509.load_pem_x509_certificate((tmp_path / "root.pem").read_bytes())
    assert finding.holds and "that you trust by the certificate CN=" in finding.why  # whose word it is
    assert root.fingerprint(hashes.SHA256()).hex() in finding.why
    assert abs(finding.when - datetime.now(UTC)) < timedelta(minutes=5)
    twice = tmp_path / "twice.pem"  # bundles of several authorities share roots
    twice.write_bytes(2 * (tmp_path / "root.pem").read_bytes())
    assert commitments.stamped(commitment, tmp_path / "r.tsr", twice).holds
    twice.write_bytes(b"no certificate")
    with pytest.raises(commitments.CommitmentError, match="cannot be read"):
        commitments.stamped(commitment, tmp_path / "r.tsr", twice)
    other = commitment | {"owner": "Eve"}
    assert not commitments.stamped(other, tmp_path / "r.tsr", tmp_path / "root.pem").holds
    with pytest.raises(commitments.CommitmentError, match="does not hold"):
        commitments.check_timestamp(commitment, response[:-20], (tmp_path / "root.pem").read_bytes())
    with pytest.raises(commitments.CommitmentError, match="cannot be read"):
        commitments.stamped(commitment, tmp_path / "none.tsr", tmp_path / "root.pem")


@pytest.mark.parametrize("form", [commitments.FORMAT, commitments.FIRST])
def test_a_stamped_claim_at_the_command_line(form, owned, authority, tmp_path, capsys):
    """As JSON, too; the digest that is shown is the one that was published."""
    commitment = commitments.commit(owned.key, form)
    commitments.save_commitment(commitment, tmp_path / "c.json")
    authority(commitments.timestamp_request(commitment))
    models.save_model(owned.marked, tmp_path / "m.keras")
    keys.save_key(owned.key, tmp_path / "k.npz")
    flags = [f"--suspect={tmp_path}/m.keras", f"--key={tmp_path}/k.npz", f"--commitment={tmp_path}/c.json",
             f"--timestamp={tmp_path}/r.tsr", f"--tsa_roots={tmp_path}/root.pem", "--null_keys=100"]
    assert cli.main(["verify", "--json", *flags]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["key"] == commitment["key"] and told["stamped"]
    assert [one["within"] for one in told["claim"] if one["name"] == "timestamp"] == [2.5001]


def _judged(key, suspect, when=None, holds=True, within=None):
    findings = [commitments.Finding("timestamp", holds, "an authority says", when, within)] if when else []
    return judgement.judge(suspect, key, null_keys=20, findings=findings)


def test_of_two_marks_the_older_commitment_decides():
    """A suspect that answers two keys perfectly."""
    ada, eve = (keys.make_key("a secret", size=16, owner=owner) for owner in ("Ada", "Eve"))

    def suspect(images):
        known = [K for key in (ada, eve) for K in [key.trigger]]
        return np.stack([ada.kind.generate(x) if any(np.array_equal(x, K) for K in known) else x for x in images])

    early, late = datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
    first, second = _judged(ada, suspect, early), _judged(eve, suspect, late)
    for order in ([first, second], [second, first]):
        winner, why = judgement.decide(order)
        assert winner is first and "'Ada'" in why and "committed first: on 2025-01-01" in why
    winner, why = judgement.decide([first, _judged(eve, suspect)])
    assert winner is None and "no time stamp was given for 'Eve'" in why
    for off in (0, 1):  # seconds; each authority is sure of one at most
        winner, why = judgement.decide([first, _judged(eve, suspect, early + timedelta(seconds=off))])
        assert winner is None and "within 2 s of each other" in why
    vague = _judged(keys.make_key("a secret", size=16, owner="Ada"), suspect, late + timedelta(seconds=3),
                    within=timedelta(seconds=60))
    assert judgement.decide([second, vague, first])[0] is first  # a year before
    sure = _judged(eve, suspect, late + timedelta(seconds=3))
    assert judgement.decide([second, sure])[0] is second
    assert judgement.decide([second, sure, replace(vague, findings=[replace(
        vague.findings[0], when=late + timedelta(seconds=4))])])[0] is None
    false_stamp = _judged(eve, suspect, early, holds=False)  # then Eve's claim does not stand
    assert judgement.decide([false_stamp, first]) == (first, f"Only the claim of {judgement.name(first)} stands.")
    assert judgement.decide([false_stamp])[0] is None
    worth = [judgement.worth(j) for j in (first, _judged(ada, suspect), judgement.judge(suspect, ada, null_keys=20))]
    assert "If the suspect is younger" in worth[0] and "No time stamp" in worth[1] and "No commitment" in worth[2]
