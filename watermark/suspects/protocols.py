"""What goes over the wire: each protocol turns images [N, H, W, C] into a body, and an answer's body into images."""

from __future__ import annotations

import base64
import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import numpy as np
from PIL import Image

from watermark.data.pictures import eight_bits, with_channel
from watermark.fitting import UNIT, Pixels
from watermark.ports import SuspectError, check_holds
from watermark.suspects.answers import picture
from watermark.suspects.jsons import at, base64_picture, counted, floats, member, named, parsed
from watermark.suspects.tensors import TYPES, WHITE, Tensor

NUMBERS = ("json", "columns")  # payloads that are no images
# Of a form; always the same, so that a request's digest can be made again, and nothing that says who asks.
BOUNDARY = 24 * "-" + "7da3f1e85b60"


def png(image: np.ndarray) -> bytes:
    """One image [H, W, C] on [0, 1] as an 8-bit PNG file, bytes; what lies beyond is cut."""
    pixels, file = eight_bits(image), io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    return file.getvalue()


def _base64(image):
    return base64.b64encode(png(image)).decode()


@dataclass(frozen=True)
class Protocol:
    """How one kind of service is asked.

    Attributes:
      payload: one of `payloads`; "KIND:FIELD" names a field.
      output: name of the output to look at, where there are several.
      tensor: the model's input.
      signature: of the model, where there are several.
      answer: "json:FIELD", where the image comes back in a field of a JSON answer.
      pixels: the range of the numbers that go out and come back; images in files are on [0, 1].
    """

    payload: str
    output: str | None = None
    tensor: Tensor = field(default_factory=Tensor)
    signature: str | None = None
    answer: str | None = None
    pixels: Pixels | None = None
    payloads = ("json", "png")
    batch = None  # images that a request may hold, where the protocol says so

    @property
    def numbers(self) -> bool:
        """Whether numbers may go out or come back."""
        return True

    @property
    def most(self) -> int | None:
        """Images that a request may hold, or None."""
        return self.batch or self.tensor.most

    @property
    def notes(self) -> list[str]:
        """What is done to the pixels beyond the protocol's plain way, in sentences."""
        tensor, notes = self.tensor, []
        if self.payload in NUMBERS and any(tensor.channels_first(channels) for channels in (1, 3)):
            notes.append("the server's axes are [N, C, H, W]")
        if self.payload in NUMBERS and tensor.datatype in TYPES and "INT" in tensor.datatype and not self.pixels:
            notes.append(f"the server takes {tensor.datatype}: pixels go out as whole numbers up to "
                         f"{WHITE.get(tensor.datatype, 255.0):g}")
        if count := tensor.exact or tensor.most:
            notes.append(f"the server takes {'' if tensor.exact else 'at most '}{count} image{'s' * (count > 1)} a "
                         "request")
        return notes

    def learnt(self, url: str, told: Callable[[str], dict]) -> Tensor:
        """The model's input by what the server says of itself: `told` gets what lies at an address in JSON, or {}.

        An error of any kind where that is not what the protocol has there.
        """
        return self.tensor

    def sent(self, images: np.ndarray) -> np.ndarray:
        """Images [N, H, W, C] as numbers of the type and in the order of axes that the server's metadata ask for."""
        tensor = self.tensor
        if tensor.datatype not in TYPES:
            raise ValueError(f"the server takes {tensor.datatype}; expected one of {', '.join(TYPES)}, or BYTES with "
                             "--payload=png")
        images = (pixels := self.range_of(tensor.datatype)).of(images)
        if tensor.channels_first(images.shape[-1]):
            images = images.transpose(0, 3, 1, 2)
        if tensor.shape and any(side > 0 and side != given for side, given in zip(tensor.shape[-3:], images.shape[1:],
                                                                                  strict=False)):
            raise ValueError(f"the server takes images {list(tensor.shape)[-3:]}, not {list(images.shape[1:])}; "
                             "expected a key of that size, or a smaller one")
        if "INT" in tensor.datatype:
            check_holds(pixels, np.iinfo(TYPES[tensor.datatype]), f"the server takes {tensor.datatype}")
            images = np.round(np.clip(images, *pixels)).astype(np.int64)
        return images

    def received(self, answers: np.ndarray, datatype: str, asked: tuple) -> np.ndarray:
        """Numbers of a type that came back for images [H, W, C], on [0, 1] and with the channels last."""
        if Tensor(shape=answers.shape).channels_first(asked[2]):
            answers = np.moveaxis(answers, -3, -1)
        return self.range_of(datatype).back(answers)

    def range_of(self, datatype: str) -> Pixels:
        """The range that numbers of a type lie on."""
        return self.pixels or (Pixels(0.0, WHITE.get(datatype, 255.0)) if "INT" in datatype else UNIT)

    def request(self, images: np.ndarray) -> tuple[bytes, str]:
        """(body, content type) for images [N, H, W, C]."""
        content = self.of_pictures([_base64(image) for image in images]) if self.payload == "png" else (
            self.of_numbers(images))
        return json.dumps(content).encode(), "application/json"


class Predict(Protocol):
    """TensorFlow Serving: rows ("json", "png"), or one array for each input ("columns")."""

    payloads = ("json", "png", "columns")

    def learnt(self, url: str, told: Callable[[str], dict]) -> Tensor:
        """See `Protocol`; a server that breaks off at this question may still answer others."""
        try:
            metadata = told(f"{url.removesuffix(':predict')}/metadata")
        except SuspectError as error:
            if isinstance(error.__cause__, httpx.ConnectError):  # nobody is there, for other questions neither
                raise
            return self.tensor
        return Tensor.served(metadata, self.tensor.name, self.signature, self.output)

    def of_pictures(self, texts: list[str]) -> dict:
        """The question in PNG."""
        return self._rows([{"b64": text} for text in texts])

    def of_numbers(self, images: np.ndarray) -> dict:
        """The question in floats."""
        images = self.sent(images)
        if self.payload != "columns":
            return self._rows(images.tolist())
        name = self.tensor.name
        return self._signed({"inputs": {name: images.tolist()} if name else images.tolist()})

    def _rows(self, rows):
        return self._signed({"instances": [{self.tensor.name: row} for row in rows] if self.tensor.name else rows})

    def _signed(self, content):
        return content | ({"signature_name": self.signature} if self.signature else {})

    def response(self, content: bytes, images: np.ndarray) -> np.ndarray:
        """The images of an answer's body, in rows ("predictions") or in columns ("outputs")."""
        name, rows = member(parsed(content, images), "predictions", "outputs")
        if name == "predictions":
            rows = [named(row, self.output) if isinstance(row, dict) and "b64" not in row else row
                    for row in counted(rows, images)]
        elif isinstance(rows, dict):
            rows = named(rows, self.output)
        if counted(rows, images) and isinstance(rows[0], dict):
            return np.stack([base64_picture(member(row, "b64")[1], images.shape[1:]) for row in rows])
        return self.received(floats(rows), self.tensor.answered, images.shape[1:])


class Infer(Protocol):
    """The Open Inference Protocol, version 2, with numbers in the body."""

    def learnt(self, url: str, told: Callable[[str], dict]) -> Tensor:
        """See `Protocol`."""
        url, config = url.removesuffix("/infer"), {}
        if metadata := told(url):
            with contextlib.suppress(SuspectError):  # Triton's; others may do what they like there
                config = told(f"{url}/config")
        return Tensor.of(metadata, self.tensor.name, config)

    def of_pictures(self, texts: list[str]) -> dict:
        """The question in PNG."""
        return self._inputs([len(texts)], "BYTES", texts)

    def of_numbers(self, images: np.ndarray) -> dict:
        """The question in floats, or in what the server takes."""
        images = self.sent(images)
        if len(self.tensor.shape or ()) == 3:
            images = images[0]
        return self._inputs(list(images.shape), self.tensor.datatype, images.ravel().tolist())

    def _inputs(self, shape, datatype, data):
        tensor = {"name": self.tensor.name or "image", "shape": shape, "datatype": datatype, "data": data}
        return {"inputs": [tensor]} | ({"outputs": [{"name": self.output}]} if self.output else {})

    def response(self, content: bytes, images: np.ndarray) -> np.ndarray:
        """The images of an answer's body."""
        _, outputs = member(parsed(content, images), "outputs")
        tensor, asked = named({tensor["name"]: tensor for tensor in outputs}, self.output), images.shape[1:]
        if tensor["datatype"] == "BYTES":
            return np.stack([base64_picture(item, asked) for item in counted(tensor["data"], images)])
        return self.received(floats(tensor["data"]).reshape(tensor["shape"]), tensor["datatype"], asked)


class Pictures(Protocol):
    """One PNG a request, one image an answer: as they are, in a form ("multipart:FIELD"), or in JSON ("json:FIELD")."""

    payloads = ("png", "multipart:FIELD", "json:FIELD")
    batch = 1

    @property
    def numbers(self) -> bool:
        """See `Protocol`: in JSON alone."""
        return self.answer is not None

    def request(self, images: np.ndarray) -> tuple[bytes, str]:
        """(body, content type) for one image [1, H, W, C]."""
        kind, _, name = self.payload.partition(":")
        if kind == "multipart":
            head = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
            form = httpx.Request("POST", "http://form", headers=head,
                                 files={name: ("image.png", png(images[0]), "image/png")})
            return form.read(), head["Content-Type"]
        if kind == "json":
            content = _base64(images[0])
            for step in reversed(name.split(".")):
                content = {step: content}
            return json.dumps(content).encode(), "application/json"
        return png(images[0]), "image/png"

    def response(self, content: bytes, images: np.ndarray) -> np.ndarray:
        """The image of an answer's body, [1, H, W, C]."""
        asked = images.shape[1:]
        if not self.answer:
            return picture(content, asked)[None]
        value = at(self.answer.partition(":")[2], parsed(content, images))
        if isinstance(value, str):
            return base64_picture(value, asked)[None]
        return (self.pixels or UNIT).back(with_channel(floats(value)))[None]


def fits(payload: str, payloads: tuple[str, ...]) -> bool:
    """Whether a payload is one of those that a protocol has, FIELD standing for any name."""
    kind, colon, name = payload.partition(":")
    return payload in payloads if not colon else bool(name) and f"{kind}:FIELD" in payloads


PROTOCOLS = ((r":predict$", Predict), (r"/v2/models/.+/infer$", Infer))
