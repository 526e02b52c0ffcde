"""Servers that want a client's time, memory or terminal. Oracles: the clock, and the process's largest memory."""

import base64
import contextlib
import gzip
import io
import json
import socket
import struct
import threading
import time
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from owners import at_most
from PIL import Image

from watermark import blackbox, suspects
from watermark.kinds import Kind

QUESTION = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 8, 8, 1)
OK = b"HTTP/1.1 200 OK\r\n"


def _png(side):
    file = io.BytesIO()
    Image.new("L", (side, side)).save(file, "PNG")
    return file.getvalue()


def _tiff(side, tile):
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((side, side), np.uint8), tile=(tile, tile), compression="zlib")
    return file.getvalue()


def _tiff_of(strip, codec, depth=1):
    """A TIFF of 8x8 pixels of 16 bits, by its tags; its one strip holds what it likes."""
    tags = [(256, 4, 8), (257, 4, 8), (258, 3, 16), (259, 3, codec), (262, 3, 1), (273, 4, 8), (277, 3, 1), (278, 4, 8),
            (279, 4, len(strip)), (32997, 4, depth)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return struct.pack("<4sI", b"II*\0", 8 + len(strip)) + strip + struct.pack("<H", len(tags)) + entries + bytes(4)


def _within(tiff):
    return _predictions([{"b64": base64.b64encode(tiff).decode()}])


def _predictions(rows):
    return json.dumps({"predictions": rows}).encode()


DRIPS = {  # what is said once, and then again and again
    "status": (b"", b"H"),
    "header": (OK + b"X: ", b"a"),
    "headers": (OK, b"X: a\r\n"),
    "body": (OK + b"Content-Length: 10000000\r\n\r\n", b" "),
    "chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "chunk line": (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "trailer": (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: a\r\n"),
    "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "silence": (b"", b""),
}
DEEP = np.zeros((3000, 3000), np.uint16)
GZIPPED = gzip.compress(bytes(64 << 20), 1)
BOMBS = {  # headers and body of an answer, and what is said of it
    "gzip": (b"Content-Encoding: gzip\r\n", GZIPPED, "sent more than"),
    "gzip twice": (b"Content-Encoding: gzip, gzip\r\n", gzip.compress(GZIPPED), "encoding"),
    "deep": (b"", b"[" * 200_000, "no image"),
    "long number": (b"", b'{"predictions": [' + b"9" * 100_000 + b"]}", "no image"),
    "infinity": (b"", _predictions([[[[float("inf")]] * 8] * 8]).replace(b"Infinity", b"1e999"), None),
    "many pictures": (b"", _predictions([{"b64": base64.b64encode(_png(8)).decode()}] * 500), "images, got 500"),
    "large picture": (b"", _predictions([{"b64": base64.b64encode(_png(9000)).decode()}]), "9000x9000"),
    "large tile": (b"", _predictions([{"b64": base64.b64encode(_tiff(8, 4096)).decode()}]), "4096x4096"),
    "jpeg 2000 in a tiff": (b"", _within(_tiff_of(imagecodecs.jpeg2k_encode(DEEP), 34712)), "compressed by JPEG2000"),
    "png in a tiff": (b"", _within(_tiff_of(imagecodecs.png_encode(DEEP), 34933)), "compressed by PNG"),
    "unknown in a tiff": (b"", _within(_tiff_of(bytes(9), 9999)), "compressed by 9999"),
    "deep tiff": (b"", _within(_tiff_of(bytes(128), 1, 1 << 20)), "an image of 8388608x8x1 pixels"),
    "lists": (b"", b'{"predictions": [%s[]]}' % (b"[]," * 100_000), "no image .JSON with 100002 times \\["),
    "numbers": (b"", b'{"predictions": [%s0]}' % (b"0," * 200_000), "no image .JSON with 200000 times ,"),
    "objects in a list": (b"", b'{"predictions": [%s{}]}' % (b"{}," * 100_000), "no image .JSON with 100002 times {"),
    "fields": (b"", b'{%s"a":0}' % (b'"a":0,' * 70_000), "no image .JSON with 70001 times :"),
    "texts": (b"", b'{"predictions": [%s""]}' % (b'"",' * 70_000), 'no image .JSON with 140004 times "'),
    "complex": (b"", _predictions([["1+2j"]]), "real numbers"),
    "objects": (b"", _predictions([{"b64": {"b64": []}}]), "no image"),
    "escape": (b"", b'{"predictions": "\x1b[2J"}', "no image"),
}


class Raw:
    """A server that says the bytes of a script to everyone, whatever is asked."""

    def __init__(self, first, again=None, pause=0.02):
        self.first, self.again, self.pause = first, again, pause
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=[self.socket.accept()[0]], daemon=True).start()

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            connection.recv(1 << 16)
            connection.sendall(self.first)
            while self.again is not None:
                connection.sendall(self.again)
                time.sleep(self.pause)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):  # closed with a question unread, it would break off
                pass


@contextlib.contextmanager
def _serving(*script, **options):
    server = Raw(*script, **options)
    try:
        yield server.url
    finally:
        server.socket.close()


def _refused(url, why, **options):
    with pytest.raises(suspects.SuspectError, match=why) as caught:
        suspects.load_suspect(url, **options)(QUESTION)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("route", ["/m:predict", "/v2/models/m/infer", "/picture"])
@pytest.mark.parametrize("how", DRIPS)
def test_one_deadline_over_everything(how, route):
    """A byte in a while keeps nobody waiting; the metadata's request has the same deadline."""
    began = time.monotonic()
    with _serving(*DRIPS[how]) as url:
        _refused(url + route, "did not answer within 0.3 s", timeout=0.3, retries=3)
    assert time.monotonic() - began < 2.0


def test_the_deadline_holds_over_retries():
    began = time.monotonic()
    with _serving(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") as url:
        _refused(f"{url}/m:predict", "did not answer within 1 s", timeout=1.0, retries=50)
    assert time.monotonic() - began < 2.5


def test_a_tls_handshake_has_the_deadline_too():
    with _serving(b"", b"") as url:
        _refused(url.replace("http", "https") + "/m:predict", "did not answer within", timeout=1.0)


def test_looking_up_an_address_has_the_deadline_too(monkeypatch):
    def slow(*where, **how):
        time.sleep(4)
        raise OSError("nobody waits")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    began = time.monotonic()
    _refused("http://slow.example/m:predict", "did not answer within 0.3 s", timeout=0.3)
    assert time.monotonic() - began < 2.0
    assert all(thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread())


@pytest.mark.parametrize("error", [OSError("unknown"), UnicodeError("label too long")])
def test_an_address_that_is_not_found(error, monkeypatch):
    def fails(*where, **how):
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    _refused("http://no.example/m:predict", "cannot be reached", timeout=5, retries=0)


@pytest.mark.parametrize(("route", "options"), [("/m:predict", {}), ("/v2/models/m/infer", {}), ("/picture", {}),
                                                ("/picture", {"answer": "json:image"})])
def test_what_a_server_says_instead_of_an_image_is_shown(route, options):
    body = b'{"error": "model\x1b[2J is not \\u001b[31m loaded"}'
    with _serving(OK + b"Content-Length: %d\r\n\r\n" % len(body) + body) as url:
        _refused(url + route, r"no image .*; it said: .*is not .*loaded", **options)


def test_an_endless_answer_is_cut_at_the_size_of_the_question():
    for route in ("/m:predict", "/v2/models/m/infer"):
        with _serving(OK + b"\r\n", b" " * (1 << 16), pause=0) as url:
            _refused(url + route, "sent more than", timeout=30)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is not measured here")
def test_too_much_memory_is_noticed_however_much_was_held_before():
    """What the tests of memory, here and of files, rest on."""
    np.ones(300 << 20, np.uint8)
    with at_most(100):
        np.ones(50 << 20, np.uint8)
    with pytest.raises(AssertionError), at_most(100):
        np.ones(150 << 20, np.uint8)


@pytest.mark.parametrize("how", BOMBS)
def test_what_is_small_on_the_wire_stays_small(how):
    head, body, why = BOMBS[how]
    answer = OK + head + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body
    with at_most(300), _serving(answer) as url:
        if why is None:  # refused by whoever judges answers
            assert np.isinf(suspects.load_suspect(f"{url}/m:predict")(QUESTION)).all()
        else:
            _refused(f"{url}/m:predict", why, timeout=20)


@pytest.mark.parametrize("metadata", [
    b"[]", b"null", b"\xff\xfe", b'{"inputs": []}', b'{"inputs": [{"name": 7}]}', b"[" * 100_000,
    b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1e400]}]}',
    b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1000000000, -1, -1, 1]}]}',
    b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [64, 1024, 1024, 3]}]}',
    b'{"inputs": [{"name": "x", "datatype": "\\u001b[2J", "shape": [-1, -1, -1, 1]}]}',
    b'{"metadata": 7}', b'{"metadata": {"signature_def": {"signature_def": {"serving_default": []}}}}',
    *(b'{"metadata": {"signature_def": {"signature_def": {"serving_default": {"outputs": {}, "inputs": {"x": {"dtype":'
      b'"%s", "tensor_shape": {"dim": [{"size": "%s"}, {"size": -1}, {"size": -1}, {"size": 1}]}}}}}}}}' % told
      for told in ((b"DT_FLOAT", b"x"), (b"DT_FLOAT", b"1000000000"), (b"\\u001b[2J", b"-1"), (b"DT_STRING", b"1"))),
])
def test_metadata_are_not_trusted(metadata):
    """The same bytes answer the question too, which is then no image: one line, whatever they were."""
    with _serving(OK + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(metadata) + metadata) as url:
        for path in ("v2/models/m/infer", "v1/models/m:predict"):
            _refused(f"{url}/{path}", "no image|takes 1000000000 images|cannot be asked", timeout=10)


@pytest.mark.parametrize("shape", [(12, 1024, 1024, 1), (64, 512, 512, 1), (2, 1024, 1024, 3)])
def test_no_request_grows_as_a_server_likes(shape):
    """By metadata of a few bytes; the largest memory of this process, where a request would have had gigabytes."""
    told = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": shape}]}).encode()
    answer = OK + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(told) + told
    with at_most(100), _serving(answer) as url:
        suspect = blackbox.as_suspect(suspects.load_suspect(f"{url}/v2/models/m/infer", timeout=10),
                                       Kind(size=16, channels=shape[3]))
        with pytest.raises(suspects.SuspectError, match=r"a request, [0-9,]+ numbers; at most 4,194,304 are sent"):
            suspect(np.zeros((3, 16, 16, shape[3]), np.float32))
