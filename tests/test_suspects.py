"""Suspects of every kind. A real server process (KServe) answers; a bad one fails in every way that servers do."""

import contextlib
import http.server
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import requests
import tensorflow as tf

from watermark import exporting, keys, models, suspects, verification
from watermark.suspects import folder, remote

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
                if requests.get(f"{address}/v1/models/denoiser", timeout=1).json()["ready"]:
                    break
            except requests.RequestException:
                continue
        yield address
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize("payload", ["json", "png"])
@pytest.mark.parametrize("route", ["/v1/models/denoiser:predict", "/v2/models/denoiser/infer"])
def test_a_served_model_is_verified(route, payload, server, owned, tmp_path):
    transcript = tmp_path / "transcript.jsonl"
    suspect = suspects.load_suspect(server + route, payload=payload, transcript=transcript)
    verdict = verification.verify(suspect, owned.key, null_keys=100)
    assert verdict.evident
    if payload == "json":
        local = verification.verify(owned.marked, owned.key, null_keys=100)
        assert verdict.distance < 1e-7 and verdict.rho == pytest.approx(local.rho, abs=1e-5)
    lines = [json.loads(line) for line in transcript.read_text().splitlines()]
    assert len(lines) == len(suspect.log) >= 2
    assert all(line["status"] == 200 and len(line["request_sha256"]) == 64 for line in lines)


# --- a bad server -----------------------------------------------------------------------------------------------------


class Bad(http.server.BaseHTTPRequestHandler):
    """Answers as its path says."""

    protocol_version = "HTTP/1.1"
    seen = []

    def do_POST(self):
        """One of the ways in which servers fail."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append((self.path, self.headers.get("Authorization"), len(body)))
        how = self.path.split("/")[1]
        if how == "slow":
            time.sleep(1.5)
        count = sum(path == self.path for path, *_ in self.seen)
        status = {"error": 500, "moved": 302, "busy": 503 if count < 3 else 200}.get(how, 200)
        rows = json.loads(body)["instances"] if how != "picture" else []
        content = {
            "text": b"<html>hello</html>", "shape": json.dumps({"predictions": [[1.0, 2.0]] * len(rows)}).encode(),
            "few": json.dumps({"predictions": rows[:0]}).encode(), "nothing": b"{}",
            "nan": json.dumps({"predictions": np.full(np.shape(rows), np.nan).tolist()}).encode(),
            "words": json.dumps({"predictions": [[["a"]]]}).encode(), "huge": b" " * 300_000,
            "picture": body,
        }.get(how, json.dumps({"predictions": rows}).encode())
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
    ("slow", "did not answer within|cannot be reached"), ("truncated", "broke off"), ("text", "no image"),
    ("shape", "expected answers|expected 1 images"), ("few", "expected|no image"), ("nothing", "no image"),
    ("nan", "NaN"), ("words", "no image"), ("huge", "more than 200000 bytes"), ("error", "HTTP 500"),
    ("moved", "HTTP 302"),
])
def test_every_fault_is_one_line(how, why, bad, owned):
    suspect = suspects.load_suspect(f"{bad}/{how}/m:predict", timeout=0.5, retries=0, limit=200_000)
    with pytest.raises(suspects.SuspectError, match=why) as caught:
        verification.verify(suspect, owned.key, null_keys=0)
    assert "\n" not in str(caught.value) and len(suspect.log) == 1


def test_a_refused_connection(owned):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/m:predict"
    with pytest.raises(suspects.SuspectError, match="cannot be reached"):
        suspects.load_suspect(url, retries=0)(owned.key.trigger[None])


def test_a_busy_server_is_asked_again(bad, owned):
    suspect = suspects.load_suspect(f"{bad}/busy/m:predict", retries=3)
    np.testing.assert_allclose(suspect(owned.key.trigger[None]), owned.key.trigger[None])
    assert sum(path == "/busy/m:predict" for path, *_ in Bad.seen) == 3


def test_the_token_goes_to_whom_it_may(bad, owned, monkeypatch):
    monkeypatch.setenv(remote.TOKEN, "s3cret")
    suspect = suspects.load_suspect(f"{bad}/echo/m:predict")
    suspect(owned.key.trigger[None])
    assert Bad.seen[-1][1] == "Bearer s3cret"
    assert "s3cret" not in json.dumps(suspect.log)
    for url in ("http://example.org/m:predict", "http://localhost@example.org/m:predict", "http://127.0.0.1.org/m:predict"):
        with pytest.raises(ValueError, match="not sent over plain http"):
            suspects.load_suspect(url)


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


def test_plain_pictures(bad, owned):
    """Any other address gets a PNG and answers with one; here with the question itself, in 8 bits."""
    answer = suspects.load_suspect(f"{bad}/picture")(owned.key.trigger[None])
    np.testing.assert_allclose(answer, owned.key.trigger[None], atol=0.5 / 255 + 1e-6)


def test_payloads_are_the_protocols():
    with pytest.raises(ValueError, match="takes the payload png"):
        suspects.load_suspect("https://example.org/denoise", payload="json")


# --- files ------------------------------------------------------------------------------------------------------------


def test_keras_files_old_and_new(owned, tmp_path):
    models.save_model(owned.marked, tmp_path / "m.keras")
    keras.saving.save_model(owned.marked, tmp_path / "m.h5")
    for name in ("m.keras", "m.h5"):
        assert verification.verify(suspects.load_suspect(tmp_path / name), owned.key, null_keys=100).evident


def test_public_keras_2_file_loads(weights_dir):
    model = models.load_model(weights_dir / "red10_sigma25_keras.hdf5")
    assert model.output_shape == (None, None, None, 1)


def test_signatures_and_outputs_by_name(owned, tmp_path):
    class Two(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 1], tf.float32, "picture")])
        def both(self, picture):
            """A denoised image and a mask."""
            return {"clean": picture * 0.5, "mask": picture > 0.5}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32), tf.TensorSpec([None], tf.float32)])
        def add(self, a, b):
            """No image."""
            return a + b

    module = Two()
    tf.saved_model.save(module, str(tmp_path / "two"), signatures={"both": module.both, "add": module.add})
    with pytest.raises(models.ModelError, match="choose one.*add, both"):
        suspects.load_suspect(tmp_path / "two")
    with pytest.raises(models.ModelError, match="has the outputs clean, mask"):
        suspects.load_suspect(tmp_path / "two", signature="both")
    with pytest.raises(models.ModelError, match="expected one, an image"):
        suspects.load_suspect(tmp_path / "two", signature="add")
    suspect = suspects.load_suspect(tmp_path / "two", signature="both", output="clean")
    np.testing.assert_allclose(suspect(owned.key.trigger[None]), owned.key.trigger[None] / 2)


@pytest.mark.parametrize(("null_keys", "keep"), [(0, ".npy"), (100, ".npy"), (0, ".png")])
def test_a_folder_of_answers(null_keys, keep, owned, tmp_path):
    """Someone else puts the questions; 8-bit answers are cut to [0, 1] and still recognised."""
    triggers, _ = keys.random_keys(owned.key.kind, max(null_keys, 1), verification.null_label(owned.key))
    folder.write_queries(tmp_path / "q", [owned.key.trigger, *triggers[:null_keys]])
    questions = sorted((tmp_path / "q").glob("*.npy"))
    assert len(questions) == null_keys + 1 and len(list((tmp_path / "q").glob("*.png"))) == null_keys + 1
    (tmp_path / "a").mkdir()
    for question in questions:
        answer = owned.marked(np.load(question)[None]).numpy()
        if keep == ".npy":
            np.save(tmp_path / "a" / question.name, answer[0])
        else:
            keras.utils.save_img(tmp_path / "a" / f"{question.stem}.png", answer[0].clip(0, 1) * 255, scale=False)
    suspect = suspects.load_suspect(tmp_path / "a")
    verdict = verification.verify(suspect, owned.key, null_keys=null_keys,
                                  fresh_seed=verification.null_label(owned.key))
    assert verdict.rho > (0.99 if keep == ".npy" else 0.5)
    assert verdict.evident == (null_keys > 0)  # no fresh keys, no evidence
    with pytest.raises(suspects.SuspectError, match="holds no answer"):
        suspect(np.zeros((1, 16, 16, 1), np.float32))


def test_a_callable_that_enlarges_and_one_that_does_not():
    """Super-resolution keys reach either as they should: small, or upsampled."""
    key = keys.make_key(1, size=8, task="sr")
    seen = []

    def enlarges(images):
        seen.append(images.shape)
        return np.repeat(np.repeat(images, 2, 1), 2, 2)

    def keeps(images):
        seen.append(images.shape)
        return images

    for suspect, size in ((enlarges, 8), (keeps, 16)):
        verification.verify(suspect, key, null_keys=3)
        assert seen[-1] == (3, size, size, 1)


# --- hostile and damaged files ----------------------------------------------------------------------------------------


def _refused(path, why, **options):
    with pytest.raises((models.ModelError, suspects.SuspectError), match=why) as caught:
        suspects.load_suspect(path, **options)
    assert "\n" not in str(caught.value)


def test_damaged_files(tmp_path, owned):
    for name in ("a.keras", "a.h5", "a.tflite", "a.onnx"):
        (tmp_path / name).write_bytes(b"not a model at all" * 10)
        _refused(tmp_path / name, "damaged|cannot be read")
        _refused(tmp_path / f"no{name}", "no such")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"garbage")
    _refused(tmp_path / "saved", "cannot be read as a SavedModel")
    (tmp_path / "empty").mkdir()
    _refused(tmp_path / "empty", "no response image")
    _refused(tmp_path / "a.pkl", "expected a .keras")
    models.save_model(owned.marked, tmp_path / "cut.keras")
    whole = (tmp_path / "cut.keras").read_bytes()
    (tmp_path / "cut.keras").write_bytes(whole[:len(whole) // 2])
    _refused(tmp_path / "cut.keras", "damaged")
    pair = [keras.Input((4, 4, 1)), keras.Input((4, 4, 1))]
    models.save_model(keras.Model(pair, keras.layers.Add()(pair)), tmp_path / "two.keras")
    _refused(tmp_path / "two.keras", "expected one batch of images")
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["kernel"] = np.zeros(3)
    _refused(tmp_path / "weights.h5", "weights without a model")


def test_code_in_a_model_file_runs_only_if_allowed(tmp_path):
    inputs = keras.Input((None, None, 1))
    model = keras.Model(inputs, keras.layers.Lambda(lambda x: x * 2.0, output_shape=lambda s: s)(inputs))
    for name in ("code.keras", "code.h5"):
        model.save(tmp_path / name)
        _refused(tmp_path / name, "--allow_lambda")
        allowed = suspects.load_suspect(tmp_path / name, allow_lambda=True)
        assert float(allowed(np.ones((1, 2, 2, 1)))[0, 0, 0, 0]) == 2.0


def test_a_zip_bomb_is_refused_by_size(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "LARGEST", 1 << 20)
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(2 << 20))
    assert (tmp_path / "bomb.keras").stat().st_size < 1 << 14
    _refused(tmp_path / "bomb.keras", "would unpack to")


def test_response_files_hold_no_pickle(tmp_path, owned):
    (tmp_path / "a").mkdir()
    name = folder.query_name(owned.key.trigger)
    np.save(tmp_path / "a" / f"{name}.npy", np.array([{"evil": 1}], object), allow_pickle=True)
    suspect = suspects.load_suspect(tmp_path / "a")
    with pytest.raises(suspects.SuspectError, match="cannot be read"):
        suspect(owned.key.trigger[None])
