"""What goes over the wire: each protocol turns images [N, H, W, C] into a body, and an answer's body into images."""

import base64
import io
import json
from dataclasses import dataclass

import numpy as np
from PIL import Image

from watermark.data import DataError, read_answer

PAYLOADS = ("json", "png")


def png(image):
    """One image [H, W, C] on [0, 1] as an 8-bit PNG file, bytes; what lies beyond is cut."""
    eight_bits = np.uint8(np.round(np.clip(image, 0.0, 1.0) * 255.0))
    file = io.BytesIO()
    Image.fromarray(eight_bits[..., 0] if eight_bits.shape[2] == 1 else eight_bits).save(file, "PNG")
    return file.getvalue()


def _picture(content):
    """float32 [H, W, C] on [0, 1] from an image file."""
    try:
        return read_answer(io.BytesIO(content))
    except DataError as error:
        raise ValueError(str(error)) from error


def _named(values, wanted):
    """One of {name: value}, or the only one."""
    if wanted is None and len(values) == 1:
        return next(iter(values.values()))
    if wanted not in values:
        raise KeyError(f"outputs {', '.join(values)}; name one of them, --output=NAME")
    return values[wanted]


@dataclass(frozen=True)
class Protocol:
    """How one kind of service is asked.

    Attributes:
      payload: one of `payloads`.
      output: name of the output to look at, where there are several.
      input_name: of the input tensor.
    """

    payload: str
    output: str | None = None
    input_name: str | None = None
    payloads = PAYLOADS
    batches = True  # whether one request may hold several images

    def request(self, images):
        """(body, content type) for images [N, H, W, C]."""
        if self.payload == "png":
            content = self.of_pictures([base64.b64encode(png(image)).decode() for image in images])
        else:
            content = self.of_numbers(images)
        return json.dumps(content).encode(), "application/json"


class Predict(Protocol):
    """TensorFlow Serving's row format."""

    def of_pictures(self, texts):
        """The question in PNG."""
        return {"instances": [{"b64": text} for text in texts]}

    def of_numbers(self, images):
        """The question in floats."""
        return {"instances": images.tolist()}

    def response(self, content):
        """Images of an answer's body."""
        rows = json.loads(content)["predictions"]
        rows = [_named(row, self.output) if isinstance(row, dict) and "b64" not in row else row for row in rows]
        return np.stack([_picture(base64.b64decode(row["b64"])) if isinstance(row, dict) else np.float32(row)
                         for row in rows])


class Infer(Protocol):
    """The Open Inference Protocol, version 2, with numbers in the body."""

    def of_pictures(self, texts):
        """The question in PNG."""
        return self._inputs([len(texts)], "BYTES", texts)

    def of_numbers(self, images):
        """The question in floats."""
        return self._inputs(list(images.shape), "FP32", images.ravel().tolist())

    def _inputs(self, shape, datatype, data):
        tensor = {"name": self.input_name or "image", "shape": shape, "datatype": datatype, "data": data}
        return {"inputs": [tensor]}

    def response(self, content):
        """Images of an answer's body."""
        outputs = {tensor["name"]: tensor for tensor in json.loads(content)["outputs"]}
        tensor = _named(outputs, self.output)
        if tensor["datatype"] == "BYTES":
            return np.stack([_picture(base64.b64decode(item)) for item in tensor["data"]])
        return np.asarray(tensor["data"], np.float32).reshape(tensor["shape"])


class Pictures(Protocol):
    """One PNG a request, one image an answer."""

    payloads = ("png",)
    batches = False

    def request(self, images):
        """(body, content type) for one image [1, H, W, C]."""
        return png(images[0]), "image/png"

    def response(self, content):
        """The image of an answer's body, [1, H, W, C]."""
        return _picture(content)[None]


PROTOCOLS = ((r":predict$", Predict), (r"/v2/models/.+/infer$", Infer))
