"""What services of different habits are asked and answer. Oracle: numpy; every server here halves its images."""

import base64
import email.parser
import email.policy
import http.server
import io
import json
import threading

import numpy as np
import pytest
from PIL import Image

from watermark import blackbox, suspects
from watermark.fitting import BYTES, SIGNED, UNIT
from watermark.kinds import Kind
from watermark.suspects import jsons

IMAGES = np.random.default_rng(0).random((5, 6, 8, 3), np.float32)
BITS = 1 / 255  # an 8-bit question, an 8-bit answer: half a step each, and half of the first


def _decoded(content):
    return np.float32(Image.open(io.BytesIO(content))) / 255.0


def _halved(content):
    file = io.BytesIO()
    Image.fromarray(np.uint8(np.round(_decoded(content) * 127.5))).save(file, "PNG")
    return file.getvalue()


MODELS = {  # the metadata of the Open Inference Protocol's models here
    "nhwc": {"datatype": "FP32", "shape": [-1, -1, -1, 3]}, "nchw": {"datatype": "FP32", "shape": [-1, 3, -1, -1]},
    "half": {"datatype": "FP16", "shape": [-1, -1, -1, 3]}, "bytes": {"datatype": "UINT8", "shape": [-1, 6, 8, 3]},
    "deep": {"datatype": "UINT16", "shape": [-1, -1, -1, 3]}, "one": {"datatype": "FP32", "shape": [3, 6, 8]},
    "four": {"datatype": "FP32", "shape": [4, 6, 8, 3]}, "two": {"datatype": "FP32", "shape": [-1, 6, 8, 3]},
    "large": {"datatype": "FP32", "shape": [-1, 9, 12, 3]}, "across": {"datatype": "FP32", "shape": [-1, 3, 9, 12]},
    "wide": {"datatype": "FP32", "shape": [-1, -1, 12, 3]},
    "huge": {"datatype": "FP32", "shape": [-1, 1 << 20, -1, 3]},
    "vast": {"datatype": "FP32", "shape": [1, 3, 2048, 2048]},
    "small": {"datatype": "FP32", "shape": [-1, 5, 5, 3]}, "signed": {"datatype": "INT8", "shape": [-1, 6, 8, 3]},
}
DTYPES = {"FP32": np.float32, "FP16": np.float16, "UINT8": np.uint8, "UINT16": np.uint16}


def _serving_metadata(model):
    """As TensorFlow Serving answers, for a signature that takes and gives the same."""
    names = {"FP32": "DT_FLOAT", "FP16": "DT_HALF"}
    tensor = {"dtype": names.get(model["datatype"], f"DT_{model['datatype']}"), "name": "picture:0",
              "tensor_shape": {"dim": [{"size": str(side), "name": ""} for side in model["shape"]],
                               "unknown_rank": False}}
    signature = {"inputs": {"picture": tensor}, "outputs": {"clean": tensor},
                 "method_name": "tensorflow/serving/predict"}
    return {"model_spec": {"name": "m", "signature_name": "", "version": "1"},
            "metadata": {"signature_def": {"signature_def": {"serving_default": signature}}}}


class Service(http.server.BaseHTTPRequestHandler):
    """Each kind of service on a path of its own; `seen` are the questions."""

    seen = []

    def do_GET(self):
        """Metadata and, for one model, Triton's configuration."""
        *_, name, last = self.path.split("/")
        if last == "metadata":
            self._say(_serving_metadata(MODELS[name])) if name in MODELS else self.send_error(404)
        elif last == "config":
            self._say({"max_batch_size": 2}) if name == "two" else self.send_error(404)
        else:
            self._say({"name": last, "inputs": [{"name": "picture"} | MODELS[last]], "outputs": []})

    def do_POST(self):
        """Half of what came."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kind, name = self.path.split("/")[1], self.path.split("/")[-2]
        if kind == "form":
            form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(
                f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode() + body)
            (part,) = form.iter_parts()
            assert part.get_param("name", header="content-disposition") == "file" and part.get_filename()
            return self._say(_halved(part.get_payload(decode=True)))
        if kind == "numbers":
            return self._say({"image": (127.5 * _decoded(body)).tolist()})
        question = json.loads(body)
        self.seen.append(question)
        if kind == "v2":
            return self._say({"outputs": [self._infer(question["inputs"][0], MODELS[name])]})
        if kind == "base64":
            text = base64.b64encode(_halved(base64.b64decode(question["data"]["image"]))).decode()
            return self._say({"results": [{"image": f"data:image/png;base64,{text}"}]})
        served = self.path.split("/")[-1].removesuffix(":predict")
        if served in MODELS:
            (kind, rows), model = question.popitem(), MODELS[served]
            data = np.array(rows)
            half = self._infer(model | {"name": "picture", "shape": data.shape, "data": rows}, model)["data"]
            return self._say({"predictions" if kind == "instances" else "outputs": half})
        rows = question.get("inputs") or [row["picture"] for row in question["instances"]]
        answer = (np.float32(rows["picture"] if isinstance(rows, dict) else rows) / 2).tolist()
        return self._say({"outputs": {"clean": answer, "mask": answer[:1]}} if "inputs" in question else {
            "predictions": [{"clean": row, "mask": 0} for row in answer]})

    def _infer(self, tensor, model):
        assert tensor["name"] == "picture" and tensor["datatype"] == model["datatype"]
        assert len(tensor["shape"]) == len(model["shape"])
        assert all(given in (side, given if side < 0 else None)
                   for side, given in zip(model["shape"], tensor["shape"], strict=True)), tensor["shape"]
        values = np.array(tensor["data"]).astype(DTYPES[tensor["datatype"]])
        assert (values == np.array(tensor["data"])).all() or tensor["datatype"] == "FP16"
        return tensor | {"name": "clean", "data": (values / values.dtype.type(2)).astype(values.dtype).tolist()}

    def _say(self, content):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        """Says nothing."""


@pytest.fixture(scope="module")
def service():
    """The address of the services."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("model", "batches", "atol", "notes"), [
    ("nhwc", [5], 0, []), ("nchw", [5], 0, ["the server's axes are [N, C, H, W]"]), ("half", [5], 1e-3, []),
    ("bytes", [5], BITS, ["the server takes UINT8: pixels go out as whole numbers up to 255"]),
    ("deep", [5], BITS / 100, ["the server takes UINT16: pixels go out as whole numbers up to 65535"]),
    ("one", [None] * 5, 0, ["the server's axes are [N, C, H, W]", "the server takes at most 1 image a request"]),
    ("four", [4, 4], 0, ["the server takes 4 images a request"]),
    ("two", [2, 2, 1], 0, ["the server takes at most 2 images a request"]),
])
def test_the_servers_metadata_say_how_to_ask(model, batches, atol, notes, service):
    Service.seen.clear()
    suspect = suspects.load_suspect(f"{service}/v2/models/{model}/infer")
    np.testing.assert_allclose(suspect(IMAGES), IMAGES / 2, atol=atol)
    shapes = [question["inputs"][0]["shape"] for question in Service.seen]
    assert [shape[0] if len(shape) == 4 else None for shape in shapes] == batches
    assert suspect.notes == notes


@pytest.mark.parametrize("payload", ["json", "columns"])
@pytest.mark.parametrize("model", ["nhwc", "nchw", "half", "bytes", "deep", "four"])
def test_tensorflow_serving_says_how_to_ask_too(model, payload, service):
    """What its numbers, axes and batches are is as with the other protocol's metadata."""
    Service.seen.clear()
    served = suspects.load_suspect(f"{service}/v1/models/{model}:predict", payload=payload)
    other = suspects.load_suspect(f"{service}/v2/models/{model}/infer")
    np.testing.assert_array_equal(served(IMAGES), other(IMAGES))
    assert served.notes == other.notes and served.sides(3) == other.sides(3)


@pytest.mark.parametrize(("model", "sides"), [("large", (9, 12)), ("across", (9, 12))])
def test_tensorflow_serving_with_models_of_one_size(model, sides, service):
    suspect = blackbox.as_suspect(suspects.load_suspect(f"{service}/v1/models/{model}:predict"),
                                   Kind(size=(6, 8), channels=3))
    np.testing.assert_array_equal(suspect(IMAGES), IMAGES / 2)
    assert any(f"takes {sides[0]}x{sides[1]}, not 6x8" in note for note in suspect.notes)


@pytest.mark.parametrize(("model", "why"), [("small", r"takes images \[5, 5, 3\], not \[6, 8, 3\]"),
                                            ("signed", "takes INT8; expected one of ((?! INT8).)*, or BYTES")])
def test_what_a_server_does_not_take_is_said(model, why, service):
    with pytest.raises(suspects.SuspectError, match=why):
        suspects.load_suspect(f"{service}/v2/models/{model}/infer")(IMAGES)
    with pytest.raises(suspects.SuspectError, match=why):
        suspects.load_suspect(f"{service}/v1/models/{model}:predict")(IMAGES)


@pytest.mark.parametrize(("model", "size"), [("huge", "1048576xany"), ("vast", "2048x2048")])
def test_no_question_grows_as_a_server_likes(model, size, service):
    with pytest.raises(suspects.SuspectError, match=f"takes images of {size} pixels; .* at most 1024 a side"):
        blackbox.as_suspect(suspects.load_suspect(f"{service}/v2/models/{model}/infer"), Kind(size=(6, 8), channels=3))


def test_types_that_are_not_taken_get_no_note(service):
    assert suspects.load_suspect(f"{service}/v2/models/signed/infer").notes == []


@pytest.mark.parametrize(("model", "sides"), [("large", (9, 12)), ("across", (9, 12)), ("wide", (6, 12))])
def test_served_models_of_one_size_are_asked_as_files_are(model, sides, service):
    """A key of 6x8: its images are continued by reflection, by hand here, each is put once, and the answers are cut."""
    Service.seen.clear()
    suspect = blackbox.as_suspect(suspects.load_suspect(f"{service}/v2/models/{model}/infer"),
                                   Kind(size=(6, 8), channels=3))
    np.testing.assert_array_equal(suspect(IMAGES), IMAGES / 2)
    question = np.pad(IMAGES, ((0, 0), (0, sides[0] - 6), (0, sides[1] - 8), (0, 0)), mode="reflect")
    put = [np.float32(seen["inputs"][0]["data"]).reshape(seen["inputs"][0]["shape"]) for seen in Service.seen]
    put = np.concatenate(put)
    np.testing.assert_array_equal(put.transpose(0, 2, 3, 1) if model == "across" else put, question)
    assert any(f"takes {sides[0]}x{sides[1]}, not 6x8" in note for note in suspect.notes)


@pytest.mark.parametrize("options", [{"input_name": "picture"}, {"input_name": "picture", "payload": "columns"},
                                     {"payload": "columns"}])
def test_named_inputs_and_columns(options, service):
    Service.seen.clear()
    suspect = suspects.load_suspect(f"{service}/v1/models/m:predict", output="clean", signature="denoise", **options)
    np.testing.assert_array_equal(suspect(IMAGES), IMAGES / 2)
    (question,) = Service.seen
    assert question["signature_name"] == "denoise"
    assert set(question) == {"signature_name", "inputs" if "payload" in options else "instances"}
    with pytest.raises(suspects.SuspectError, match="outputs clean, mask; name one"):
        suspects.load_suspect(f"{service}/v1/models/m:predict", **options)(IMAGES)


@pytest.mark.parametrize(("route", "options"), [
    ("form", {"payload": "multipart:file"}),
    ("base64", {"payload": "json:data.image", "answer": "json:results.0.image"})])
def test_forms_and_pictures_in_json(route, options, service):
    suspect = suspects.load_suspect(f"{service}/{route}", **options)
    np.testing.assert_allclose(suspect(IMAGES), IMAGES / 2, atol=BITS)
    suspect(IMAGES[:1])
    assert suspect.log[0]["request_sha256"] == suspect.log[-1]["request_sha256"]  # a digest can be made again


@pytest.mark.parametrize(("url", "options", "why"), [
    ("https://example.org/denoise", {"payload": "json"}, "takes the payload png or multipart:FIELD or json:FIELD"),
    ("https://example.org/denoise", {"payload": "multipart:"}, "takes the payload"),
    ("https://example.org/denoise", {"answer": "image"}, "expected json:FIELD"),
    ("https://example.org/m:predict", {"answer": "json:image"}, "neither :predict nor /infer"),
    ("https://example.org/m:predict", {"payload": "multipart:file"}, "takes the payload json or png or columns"),
    ("http://[::1/denoise", {}, "is no address"),
])
def test_what_does_not_go_together_is_said(url, options, why):
    with pytest.raises((ValueError, suspects.SuspectError), match=why):
        suspects.load_suspect(url, **options)


def test_any_function_of_the_users(tmp_path):
    (tmp_path / "ask.py").write_text("def half(images):\n    return images / 2\n\ndef never(images):\n"
                                     "    raise NotImplementedError('no network\\x1b[2J')\n")
    np.testing.assert_array_equal(suspects.load_suspect(f"{tmp_path}/ask.py:half")(IMAGES), IMAGES / 2)
    with pytest.raises(suspects.SuspectError, match=r"does not answer images of shape \[5, 6, 8, 3\] .no network"):
        suspects.load_suspect(f"{tmp_path}/ask.py:never")(IMAGES)
    (tmp_path / "bad.py").write_text("import nothing_of_that_name\n")
    for spec, why in (("ask.py:quarter", "has no function quarter; it has half, never"),
                      ("bad.py:half", "bad.py does not run .No module"), ("no.py:half", "no such file")):
        with pytest.raises(suspects.ModelError, match=why):
            suspects.load_suspect(f"{tmp_path}/{spec}")


@pytest.mark.parametrize(("path", "options", "pixels", "atol"), [
    ("v1/models/m:predict", {"input_name": "picture", "output": "clean"}, BYTES, 0),
    ("v2/models/nhwc/infer", {}, SIGNED, 0), ("v2/models/bytes/infer", {}, BYTES, BITS),
    ("numbers", {"answer": "json:image"}, BYTES, BITS)])
def test_the_range_of_a_services_numbers(path, options, pixels, atol, service):
    """Halving on [low, high], as seen from [0, 1]: by hand, (low + (high - low) x) / 2 brought back."""
    kind = Kind(size=(6, 8), channels=3)
    suspect = blackbox.as_suspect(suspects.load_suspect(f"{service}/{path}", **options), kind, pixels=pixels)
    expected = IMAGES / 2 if pixels == BYTES else ((2 * IMAGES - 1) / 2 + 1) / 2
    np.testing.assert_allclose(suspect(IMAGES), expected, atol=atol + 1e-6)
    assert any("[0, 255]" in note or "[-1, 1]" in note for note in suspect.notes)


def test_a_range_that_cannot_be(service):
    """Of whole numbers, that would all be 0 or 1; of images in files."""
    for path, pixels, why in (("v2/models/bytes/infer", UNIT, "do not hold pixels on --range=0,1"),
                              ("v2/models/bytes/infer", SIGNED, "do not hold"), ("form", BYTES, "is for numbers")):
        with pytest.raises(suspects.SuspectError, match=why):
            blackbox.as_suspect(suspects.load_suspect(f"{service}/{path}"), Kind(size=(6, 8), channels=3),
                                 pixels=pixels)(IMAGES)


def test_a_field_that_is_not_there_is_named(service):
    options = {"payload": "json:data.image"}
    for field, why in (("results.0.picture", "no 'picture' there, but image"), ("results.1", "no '1' there, but 0"),
                       ("results.0.image.x", "but a str without fields")):
        with pytest.raises(suspects.SuspectError, match=why):
            suspects.load_suspect(f"{service}/base64", answer=f"json:{field}", **options)(IMAGES)


@pytest.mark.parametrize(("values", "why"), [
    ([["a" * 100_000, *["b"] * 10_000]], "expected real numbers in lists of one length, got str"),
    ([[1.0, 2.0], [3.0]], "got list"), ([[None]], "got NoneType"), ([[10**400]], "that a float can hold")])
def test_numbers_in_json_are_numbers(values, why):
    """As an array of texts, short ones would take the room of the longest: 4 GB here."""
    with pytest.raises(ValueError, match=why):
        jsons.floats(values)
    np.testing.assert_array_equal(jsons.floats([[1, 2.5], [True, -1]]), np.float32([[1, 2.5], [1, -1]]))
