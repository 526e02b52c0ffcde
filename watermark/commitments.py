"""Claims that cannot be made up afterwards: public commitments to a key, signed and time-stamped.

S := M(K) after embedding, so whoever has any model can draw a K and call M(K) their S; the distance of Eq. (8) is then
0. Three things stop that: K is derived from the owner's name and a secret (`keys.derived`), S0 = G(K) follows from K
and the mark must lie near it, and both were committed to, in public, before the dispute.

A commitment is a JSON object. Its SHA-256 digests are of the secret, too, so that it reveals nothing: one of K alone
would tell whoever has been asked many questions which of them was K.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import rfc3161_client as rfc3161
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from watermark.der import in_order
from watermark.errors import LONGEST_NAME, WatermarkError, check_type, is_name, printable, raised_as
from watermark.files import content, write
from watermark.interrogation import rho_of
from watermark.keys import Key, derived
from watermark.verification import FAITHFUL

FORMAT = "watermark-commitment-2"
FIRST = "watermark-commitment-1"  # without the secret and the public key: read, for stamps cannot be made again
LARGEST = 1 << 20


class CommitmentError(WatermarkError, ValueError):
    """A commitment, signature or time stamp that cannot be read."""


@dataclass(frozen=True)
class Finding:
    """One point of a claim: `holds`, and why, in a sentence.

    Of a time stamp `when` it was given, `within` what; of the key the published `digest`.
    """

    name: str
    holds: bool
    why: str
    when: datetime | None = None
    within: timedelta | None = None
    digest: str = ""


def commit(key: Key, form: str = FORMAT) -> dict:
    """The public commitment to a key, a dict; "mark" is None before embedding, when S is still S0.

    >>> watermark.commit(watermark.make_key("a long random secret", owner="Ada"))["mark"] is None
    True

    "key" is SHA-256 over owner, secret, kind, K and S0; "mark" is SHA-256 over "key", secret and S.

    Args:
      key: the owner's.
      form: `FORMAT`, or that of a commitment made before it.
    """
    check_type("key", key, Key, "watermark.load_key reads a file")
    secret = [key.secret] if form != FIRST else []
    h = hashlib.sha256(json.dumps([form, key.owner, *secret, key.kind.as_dict()], sort_keys=True).encode())
    for image in (key.trigger, key.initial):
        h.update(_pixels(image))
    mark = hashlib.sha256(h.digest() + "".join(secret).encode() + _pixels(key.verification)).hexdigest()
    return {"format": form, "owner": key.owner, "key": h.hexdigest(), "mark": mark if key.embedded else None}


def _pixels(image):
    return json.dumps(image.shape).encode() + np.ascontiguousarray(image, "<f4").tobytes()


def _signed_part(commitment):
    """The bytes that are signed and time-stamped: who signs, too, or another could put his signature there."""
    names = ["format", "owner", "key", "mark"]
    names += ["public_key"] if "public_key" in commitment and commitment["format"] != FIRST else []
    return json.dumps({name: commitment[name] for name in names}, sort_keys=True, separators=(",", ":")).encode()


# --- signatures -------------------------------------------------------------------------------------------------------


def make_signing_key(path: str | Path) -> Ed25519PrivateKey:
    """Writes a new Ed25519 private key (PEM, mode 0600) and returns it."""
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                serialization.NoEncryption())
    write(path, pem, mode=0o600, new=True)
    return private


def load_signing_key(path: str | Path) -> Ed25519PrivateKey:
    """The Ed25519 private key of a PEM file without password."""
    with raised_as(CommitmentError, f"{path} cannot be read as a private key"):
        private = serialization.load_pem_private_key(content(path, LARGEST), None)
    if not isinstance(private, Ed25519PrivateKey):
        raise CommitmentError(f"{path} holds a {type(private).__name__}, expected an Ed25519 key")
    return private


def public_key(private: Ed25519PrivateKey) -> str:
    """The public key of a private one, 64 hexadecimal digits."""
    return private.public_key().public_bytes_raw().hex()


def sign(commitment: dict, private: Ed25519PrivateKey) -> dict:
    """The commitment with "public_key" and "signature" (Ed25519, RFC 8032), both hexadecimal."""
    signed = commitment | {"public_key": public_key(private)}
    return signed | {"signature": private.sign(_signed_part(signed)).hex()}


# --- time stamps ------------------------------------------------------------------------------------------------------


def timestamp_request(commitment: dict) -> bytes:
    """An RFC 3161 request over the commitment (SHA-512, no network): the bytes to send to a time-stamp authority.

    What `sign` adds to a commitment is stamped with it: sign first.
    """
    request = rfc3161.TimestampRequestBuilder().data(_signed_part(commitment)).cert_request(cert_request=True).build()
    return request.as_bytes()


def check_timestamp(commitment: dict, response: bytes, roots: bytes) -> datetime:
    """When the commitment existed at the latest.

    Args:
      commitment: the dict.
      response: bytes of the authority's answer (`.tsr`).
      roots: bytes of a PEM file with the certificates of authorities that you trust.

    Returns:
      A timezone-aware `datetime`.

    Raises:
      CommitmentError: the stamp is of another commitment or of no authority trusted.
    """
    with raised_as(CommitmentError, "the time stamp does not hold"):
        return _holding(commitment, response, _certificates(roots)).tst_info.gen_time


def _certificates(pem):
    return list(dict.fromkeys(x509.load_pem_x509_certificates(pem)))  # bundles share some


def _holding(commitment, response, roots):
    """The stamp that an authority's answer holds; else a CommitmentError."""
    with raised_as(CommitmentError, "the time stamp does not hold"):
        stamp = rfc3161.decode_timestamp_response(in_order(response))
        _verify(stamp, commitment, roots)
        return stamp


def _verify(stamp, commitment, roots):
    rfc3161.VerifierBuilder(roots=roots).build().verify_message(stamp, _signed_part(commitment))


def _authority(stamp, commitment, roots):
    """Which of the certificates that are trusted a stamp that holds rests on, in a clause."""
    for certificate in roots:
        with contextlib.suppress(Exception):
            _verify(stamp, commitment, [certificate])
            name = printable(certificate.subject.rfc4514_string())[:LONGEST_NAME]
            return f"by the certificate {name}, SHA-256 {certificate.fingerprint(hashes.SHA256()).hex()}"
    return "by several of the certificates together"


def stamped(commitment: dict, response: str | Path, roots: str | Path) -> Finding:
    """`check_timestamp` of files as a `Finding`; a CommitmentError where they cannot be read."""
    with raised_as(CommitmentError, "the time stamp or its certificates cannot be read"):
        answer, pem = (content(path, LARGEST) for path in (response, roots))
        trusted = _certificates(pem)  # the verifier's own file: that it is bad is nothing of the claim
    try:
        stamp = _holding(commitment, answer, trusted)
    except CommitmentError as error:
        return Finding("timestamp", False, str(error))
    when = stamp.tst_info.gen_time
    return Finding("timestamp", True, f"it existed on {when:%Y-%m-%d %H:%M} UTC, an authority says that you trust "
                   f"{_authority(stamp, commitment, trusted)}", when, _accuracy(stamp.tst_info.accuracy))


def _accuracy(said):
    """How far an authority's clock may be off, by its own word (RFC 3161, 2.4.2); at least its stamps' second."""
    off = timedelta() if said is None else timedelta(
        seconds=said.seconds or 0, milliseconds=said.millis or 0, microseconds=said.micros or 0)
    return max(off, timedelta(seconds=1))


# --- files ------------------------------------------------------------------------------------------------------------


def save_commitment(commitment: dict, path: str | Path) -> None:
    """Writes the commitment as JSON, whole or not at all. It is public."""
    write(path, json.dumps(commitment, indent=1, sort_keys=True) + "\n")


def load_commitment(path: str | Path) -> dict:
    """Reads a commitment file; a CommitmentError says in one line what is wrong with it."""
    path = Path(path)
    if not path.is_file():
        raise CommitmentError(f"{path}: no such commitment file; watermark keygen writes one beside the key")
    with raised_as(CommitmentError, f"{path} is not a commitment file"):
        commitment = json.loads(content(path, LARGEST).decode())
    if not isinstance(commitment, dict) or commitment.get("format") not in (FORMAT, FIRST):
        raise CommitmentError(f"{path} is not a commitment file of the format {FORMAT} or {FIRST}")
    texts = [commitment.get(name) for name in ("owner", "key")] + [commitment.get("mark") or ""]
    if not all(isinstance(text, str) for text in texts):
        raise CommitmentError(f"{path}: expected texts for owner, key and mark")
    if not is_name(texts[0]):
        raise CommitmentError(f"{path}: expected an owner's name, of {LONGEST_NAME} characters at most, all seen")
    return {"mark": None} | commitment


# --- claims -----------------------------------------------------------------------------------------------------------


def check(key: Key, commitment: dict) -> list[Finding]:
    """Whether a claim on `key` under `commitment` is one that its owner could only have made beforehand.

    Returns:
      A list of `Finding`; the claim stands if every one holds.
    """
    rho = rho_of(key, key.verification)
    again = commit(key, commitment["format"])
    findings = [
        _finding("derived", derived(key),
                 f"K is derived from the owner's name {key.owner!r} and the secret in the key file",
                 "K is not derived from an owner's name and a secret: it may have been chosen to suit a model"),
        _finding("initial", np.array_equal(key.initial, key.kind.generate(key.trigger)),
                 "S₀ is what the gradient operator makes of K",
                 "S₀ does not follow from K: it may have been chosen to suit a model"),
        _finding("embedded", rho >= FAITHFUL,
                 f"S lies as near to S₀ as an embedding leaves it (ρ = {rho:.2f})",
                 f"S has little to do with S₀ (ρ = {rho:.2f}, at least {FAITHFUL} expected): an embedding leaves it "
                 "nearer, so that it may be any model's answer, declared to be a mark afterwards"),
        _finding("key", (again["key"], again["owner"]) == (commitment["key"], commitment["owner"]),
                 "the commitment is to this owner, K and S₀" + (
                     "; its digest is without the secret, and tells whoever has the questions which of them was K"
                     if commitment["format"] == FIRST else ""),
                 "the commitment is to another key: this one was not committed to", again["key"]),
    ]
    if commitment["mark"] is not None:
        findings.append(_finding("mark", again["mark"] == commitment["mark"], "the commitment is to this S",
                                 "the commitment is to another S: this one was not committed to"))
    if {"signature", "public_key"} & set(commitment):  # one without the other: somebody took it away
        findings.append(_finding("signature", signature_holds(commitment),
                                 f"signed with the Ed25519 key {commitment.get('public_key')}; whose that is, is shown "
                                 "by where it was published",
                                 "the signature does not fit the commitment"))
    return findings


def _finding(name, holds, yes, no, digest=""):
    return Finding(name, bool(holds), yes if holds else no, digest=digest)


def signature_holds(commitment: dict) -> bool:
    """Whether a signed commitment is what its public key signed."""
    try:
        if not re.fullmatch("[0-9a-f]{64}", commitment["public_key"]):
            return False  # a text that only looks like the key which it stands for
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(commitment["public_key"]))
        public.verify(bytes.fromhex(commitment["signature"]), _signed_part(commitment))
    except (InvalidSignature, ValueError, KeyError, TypeError):
        return False
    return True
