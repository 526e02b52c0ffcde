"""Suspects behind HTTP. A real server process (KServe) answers; a bad one fails in every way that servers do."""

import contextlib
import hashlib
import http.server
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2

from watermark import cli, exporting, keys, models, suspects, verification
from watermark.suspects import exchange, remote
from watermark.suspects.tensors import Tensor

SERVE = Path(__file__).with_name("serve.py")


# --- a real server ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(owned, tmp_path_factory):
    """The address of a KServe process in front of the exported marked model."""
    path = tmp_path_factory.mktemp("served")
    exporting.save_saved_model(owned.marked, path / "model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with open(path / "log", "w") as log:
        process = subprocess.Popen([sys.executable, SERVE, path / "model", str(port)], stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            time.sleep(0.5)
            assert process.poll() is None, (path / "log").read_text()[-2000:]
            try:
                if httpx.get(f"{address}/v1/models/denoiser", timeout=1).json()["ready"]:
                    break
            except httpx.HTTPError:
                continue
        yield address
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize("payload", ["json", "png"])
@pytest.mark.parametrize("route", ["/v1/models/denoiser:predict", "/v2/models/denoiser/infer"])
def test_a_served_model_is_verified(route, payload, server, owned, tmp_path):
    transcript = tmp_path / "transcript.jsonl"
    asked = server.replace("//", "//ada:secret@") + f"{route}?key=secret"
    suspect = suspects.load_suspect(asked, payload=payload, transcript=transcript)
    verdict = verification.verify(suspect, owned.key, null_keys=100)
    assert verdict.evident
    if payload == "json":
        local = verification.verify(owned.marked, owned.key, null_keys=100)
        assert verdict.distance < 1e-7 and verdict.rho == pytest.approx(local.rho, abs=1e-5)
    assert "secret" not in transcript.read_text()
    lines = [json.loads(line) for line in transcript.read_text().splitlines()]
    assert len(lines) == len(suspect.log) >= 2
    lines = [line for line in lines if line["method"] == "POST"]  # the rest asks what the model takes
    assert all(line["status"] == 200 and len(line["request_sha256"]) == 64 for line in lines)


@pytest.mark.parametrize(("url", "seen"), [
    ("https://h.example:8000/x?SECRET#here", "https://h.example:8000/x?…"),
    ("http://u@h/v1/models/m:predict", "http://h/v1/models/m:predict"),
    ("https://h/a@b?k=v=w&x=", "https://h/a@b?k=…&x="),
])
def test_what_is_shown_of_an_address(url, seen):
    """By hand."""
    assert exchange.shown(url) == seen


def test_a_password_is_not_sent_in_the_clear():
    with pytest.raises(ValueError, match=r"http://h.example/x: a password is not sent over plain http") as caught:
        suspects.load_suspect("http://ada:secret@h.example/x")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("spec", [
    "https://ada:p/wSECRET@h.example/x", "https://ada:SECRET#1@h.example/x", "https://ada:SECRETpw@exa\u2100mple.com/x",
    "https://ada:SECRET@h.example\n/x", "https://ada:SECRET@h.example:port/x",
    "ftp://ada:SECRET@h.example/x", "htps:/ada:p/SECRET@h.example/m.keras", "ada:SECRET@h.example/x?key=SECRET"])
@pytest.mark.parametrize("fixed", [None, {"sigma": 25.0}])
def test_what_is_no_address_is_shown_without_its_password(spec, fixed):
    with pytest.raises((ValueError, suspects.SuspectError),
                       match="is no address|no such file|Keras models only") as caught:
        suspects.load_suspect(spec, fixed=fixed)
    assert "SECRET" not in str(caught.value) and "ada" not in str(caught.value) and "mple" in str(caught.value)


def test_the_metadata_of_a_saved_model_are_read(owned, tmp_path):
    """Its own signature, in JSON as TensorFlow Serving writes it."""
    exporting.save_saved_model(owned.marked, tmp_path / "model")
    model = saved_model_pb2.SavedModel.FromString((tmp_path / "model" / "saved_model.pb").read_bytes())
    signatures = {name: json_format.MessageToDict(signature, preserving_proto_field_name=True)
                  for name, signature in model.meta_graphs[0].signature_def.items()}
    told = json.loads(json.dumps({"metadata": {"signature_def": {"signature_def": signatures}}}))
    tensor = Tensor.served(told, None, None, None)
    assert (tensor.datatype, tensor.shape, tensor.answered) == ("FP32", (-1, -1, -1, 1), "FP32")


# --- a bad server -----------------------------------------------------------------------------------------------------


class Bad(http.server.BaseHTTPRequestHandler):
    """Answers as its path says."""

    protocol_version = "HTTP/1.1"
    seen, digests = [], []

    def do_POST(self):
        """One of the ways in which servers fail."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.path, self.headers.get("Authorization"), len(body)))
        how = self.path.split("/")[1]
        if how == "slow":
            time.sleep(1.5)
        count = sum(path == self.path for path, *_ in self.seen)
        status = {"error": 500, "moved": 302}.get(how, 200)
        if how.startswith("busy") and count < 3:
            status = int(how[4:])
        rows = json.loads(body)["instances"] if how != "picture" else []
        content = {
            "text": b"<html>hello</html>", "shape": json.dumps({"predictions": [[1.0, 2.0]] * len(rows)}).encode(),
            "few": json.dumps({"predictions": rows[:0]}).encode(), "nothing": b"{}",
            "nan": json.dumps({"predictions": np.full(np.shape(rows), np.nan).tolist()}).encode(),
            "words": json.dumps({"predictions": [[["a"]]]}).encode(), "huge": b" " * 300_000,
            "picture": body,
        }.get(how, json.dumps({"predictions": rows}).encode())
        self.digests.append([hashlib.sha256(part).hexdigest() for part in (body, content)])
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) + (1000 if how == "truncated" else 0)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):  # the slow one, when nobody waits any more
            self.wfile.write(content)
        self.close_connection = how == "truncated"

    def log_message(self, *arguments):
        """Says nothing."""


@pytest.fixture(scope="module")
def bad():
    """The address of a server that fails as the path says."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bad)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("how", "why"), [
    ("slow", "did not answer within 0.5 s"), ("truncated", "broke off .*peer closed"), ("text", "no image .Expecting"),
    ("shape", "expected 1 images"), ("few", "expected 1 images, got 0"),
    ("nothing", "no image .no 'predictions' or 'outputs' there"), ("nan", "NaN"),
    ("words", "no image .expected real numbers in lists of one length, got str"),
    ("huge", "more than 200000 bytes"), ("error", "HTTP 500"),
    ("moved", "HTTP 302"),
])
def test_every_fault_is_one_line(how, why, bad, owned):
    suspect = suspects.load_suspect(f"{bad}/{how}/m:predict", timeout=0.5 if how == "slow" else 20, retries=0,
                                    limit=200_000)
    with pytest.raises(suspects.SuspectError, match=why) as caught:
        verification.verify(suspect, owned.key, null_keys=0)
    assert "\n" not in str(caught.value) and len([line for line in suspect.log if line["method"] == "POST"]) == 1


def test_a_refused_connection(owned):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/m:predict"
    with pytest.raises(suspects.SuspectError, match="cannot be reached"):
        suspects.load_suspect(url, retries=0)(owned.key.trigger[None])


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_server_is_asked_again(status, bad, owned, monkeypatch):
    monkeypatch.setattr(exchange, "PAUSE", 0.01)
    suspect = suspects.load_suspect(f"{bad}/busy{status}/m:predict", retries=3)
    np.testing.assert_allclose(suspect(owned.key.trigger[None]), owned.key.trigger[None])
    assert sum(path == f"/busy{status}/m:predict" for path, *_ in Bad.seen) == 3


@pytest.mark.parametrize("status", [400, 500])
def test_a_server_that_fails_is_not_asked_again(status, bad, owned, monkeypatch):
    monkeypatch.setattr(exchange, "PAUSE", 0.01)
    with pytest.raises(suspects.SuspectError, match=f"HTTP {status}"):
        suspects.load_suspect(f"{bad}/busy{status}/m:predict", retries=3)(owned.key.trigger[None])
    assert sum(path == f"/busy{status}/m:predict" for path, *_ in Bad.seen) == 1


def test_a_transcript_has_the_digests_of_what_went_out_and_came_back(bad, owned, tmp_path):
    """Oracle: those that the server computes of its bytes."""
    suspect = suspects.load_suspect(f"{bad}/echo/m:predict", transcript=tmp_path / "t.jsonl")
    for images in (owned.key.trigger[None], 1 - owned.key.trigger[None]):
        suspect(images)
    told = [[line["request_sha256"], line["response_sha256"]] for line in suspect.log if line["method"] == "POST"]
    assert told == Bad.digests[-2:] and len({digest for pair in told for digest in pair}) == 4
    assert suspect.log[-1]["request_bytes"] == Bad.seen[-1][2]
    assert list(map(json.loads, (tmp_path / "t.jsonl").read_text().splitlines())) == suspect.log


def test_the_token_goes_to_whom_it_may(bad, owned, monkeypatch):
    monkeypatch.setenv(remote.TOKEN, "s3cret")
    suspect = suspects.load_suspect(f"{bad}/echo/m:predict")
    suspect(owned.key.trigger[None])
    assert Bad.seen[-1][1] == "Bearer s3cret"
    assert "s3cret" not in json.dumps(suspect.log)
    for url in ("http://example.org/m:predict", "http://localhost@example.org/m:predict", "http://127.0.0.1.org/m:predict"):
        with pytest.raises(ValueError, match="not sent over plain http"):
            suspects.load_suspect(url)


def test_what_was_asked_without_tls_is_said(bad):
    """Whoever is on the way may have answered; on this machine nobody is."""
    for url in ("http://198.51.100.1/denoise", "HTTP://198.51.100.1/denoise"):
        assert remote.OPEN in suspects.load_suspect(url).notes
    for url in ("https://198.51.100.1/denoise", f"{bad}/echo/m:predict"):
        assert remote.OPEN not in suspects.load_suspect(url, timeout=0.5, retries=0).notes


@pytest.mark.parametrize("token", ["s3cret\r\n", " s3cret", "s3cret"])
def test_blanks_around_a_token_are_not_of_it(token, bad, owned, monkeypatch):
    monkeypatch.setenv(remote.TOKEN, token)
    suspects.load_suspect(f"{bad}/echo/m:predict")(owned.key.trigger[None])
    assert Bad.seen[-1][1] == "Bearer s3cret"


@pytest.mark.parametrize("token", ["s3\rcret", "s3 cret", "s3cret\u00e9", "s3cret\x7f", "s3cret\0"])
def test_what_is_no_token_is_not_shown(token):
    with pytest.raises(ValueError, match="visible ASCII") as caught:
        suspects.load_suspect("https://example.org/m:predict", token=token)
    assert "s3" not in str(caught.value)


def test_a_proxy_does_not_see_what_is_for_this_machine(bad, owned, monkeypatch):
    """A request through a proxy has the whole address in its first line; others go through it as they did."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, bad)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    suspects.load_suspect(f"{bad}/echo/m:predict", token="s3cret")(owned.key.trigger[None])
    assert Bad.seen[-1][:2] == ("/echo/m:predict", "Bearer s3cret")
    suspects.load_suspect("HTTP://models.example/echo/m:predict")(owned.key.trigger[None])
    assert Bad.seen[-1][:2] == ("http://models.example/echo/m:predict", None)


def test_certificates_are_checked(owned, tmp_path):
    """A certificate of nobody's is refused; with --ca_bundle the owner vouches for it."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k.pem", "-out", "c.pem",
                    "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
                   cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "c.pem", tmp_path / "k.pem")
    server = http.server.ThreadingHTTPServer(("localhost", 0), Bad)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"https://localhost:{server.server_port}/echo/m:predict"
    try:
        with pytest.raises(suspects.SuspectError, match="TLS certificate"):
            suspects.load_suspect(url, retries=0)(owned.key.trigger[None])
        suspect = suspects.load_suspect(url, retries=0, ca_bundle=str(tmp_path / "c.pem"))
        np.testing.assert_allclose(suspect(owned.key.trigger[None]), owned.key.trigger[None])
    finally:
        server.shutdown()
        server.server_close()


def test_an_unmarked_network_behind_a_url_is_asked_as_the_flags_say(bad, owned, tmp_path, capsys):
    keys.save_key(owned.key, tmp_path / "k.npz")
    models.save_model(owned.marked, tmp_path / "m.keras")
    code = cli.main(["verify", f"--suspect={tmp_path}/m.keras", f"--unmarked={bad}/echo/m:predict",
                     f"--key={tmp_path}/k.npz", "--null_keys=30", f"--transcript={tmp_path}/t.jsonl"])
    assert code == 0, capsys.readouterr().err
    lines = list(map(json.loads, (tmp_path / "t.jsonl").read_text().splitlines()))
    assert any(line["method"] == "POST" and "echo" in line["url"] for line in lines)


def test_plain_pictures(bad, owned):
    """Any other address gets a PNG and answers with one; here with the question itself, in 8 bits."""
    answer = suspects.load_suspect(f"{bad}/picture")(owned.key.trigger[None])
    np.testing.assert_allclose(answer, owned.key.trigger[None], atol=0.5 / 255 + 1e-6)


def test_payloads_are_the_protocols():
    with pytest.raises(ValueError, match="takes the payload png"):
        suspects.load_suspect("https://example.org/denoise", payload="json")
