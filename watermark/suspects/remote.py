"""A suspect behind HTTP: TensorFlow Serving's REST API, the Open Inference Protocol v2, or plain images.

https://www.tensorflow.org/tfx/serving/api_rest and
https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np

from watermark.errors import first_line, printable, raised_as
from watermark.files import add_line, check_place, locked
from watermark.fitting import Pixels
from watermark.ports import RANGED, SuspectError, check_sides, together
from watermark.suspects.answers import pixels_at_most
from watermark.suspects.exchange import LOCAL, Line, certificates, doubtful, shown, veiled
from watermark.suspects.protocols import NUMBERS, PROTOCOLS, Pictures, Protocol, fits
from watermark.suspects.tensors import Tensor

TOKEN = "WATERMARK_TOKEN"
OPEN = "it was asked without TLS: whoever is on the way to it may have answered"
LARGEST = 256 << 20  # bytes of one answer, whatever the question
BYTES = 32  # a number of JSON at most; and of one answer, for its head and tail:
FRAME = 1 << 16
METADATA = 1 << 20  # bytes
BATCH = 1 << 14  # pixels a request: a trigger a request from 128x128 up, 10 of 40x40
LARGEST_SIDE = 1024  # that an image is continued to, where the model takes one size only
EXACT = 64  # images that a model of fixed batch is filled up to
FILLED = 1 << 22  # numbers of such a request; in JSON some 100 bytes each on the way


def is_url(spec: object) -> bool:
    """Whether a suspect is named by an address."""
    return str(spec).lower().startswith(("http://", "https://"))


@dataclass(frozen=True)
class Access:
    """How a service is asked.

    Attributes:
      output: name of the output to look at, where there are several.
      input_name: of the input tensor; by default what the metadata of the Open Inference Protocol say, or none.
      signature: of the model, where there are several (TensorFlow Serving).
      payload: "json", numbers as they are, or "png", images in 8 bits, which costs some evidence: answers beyond
        [0, 1] are cut. "columns": numbers, one array for each input (TensorFlow Serving). For other addresses "png",
        the file as it is, "multipart:FIELD", in a form, or "json:FIELD", in base64. The default is the first of them.
      answer: for other addresses, "json:FIELD": the image is in that field of a JSON answer, in base64 or as numbers;
        fields within fields, and places in lists, are written a.b.0. By default the answer is an image file.
      timeout: seconds for one request, from looking up the address to the last byte, retries included.
      retries: how often a request is put again, with doubling pauses, after a refused connection or status 429, 502,
        503 or 504.
      transcript: file to which a line of JSON is added for every request: when, what digest went out, what came back.
      token: bearer token; by default the environment's WATERMARK_TOKEN.
      ca_bundle: certificates to trust instead of the usual ones. TLS is always verified.
      limit: bytes that one answer may have; less where the question was small.
      line: what sends requests, as `watermark.suspects.exchange.Line` does; it then knows timeout, token and the rest.
    """

    output: str | None = None
    input_name: str | None = None
    signature: str | None = None
    payload: str | None = None
    answer: str | None = None
    timeout: float = 60.0
    retries: int = 3
    transcript: str | Path | None = None
    token: str | None = field(default=None, repr=False)
    ca_bundle: str | Path | None = None
    limit: int = LARGEST
    line: Line | None = None


def connect(url: str, **access) -> Remote:
    """A suspect behind a URL.

    Args:
      url: `.../v1/models/NAME:predict` (TensorFlow Serving), `.../v2/models/NAME/infer` (Open Inference Protocol), or
        any other address, which gets one PNG a request and answers with an image.
      **access: how it is asked, fields of `Access`.

    Returns:
      A `Remote`, a callable float32 [N, H, W, C] -> [N, H', W', C].
    """
    access = Access(**access)
    address = _address(url)
    protocol = next((p for pattern, p in PROTOCOLS if re.search(pattern, url.split("?")[0])), Pictures)
    payload = access.payload or protocol.payloads[0]
    if not fits(payload, protocol.payloads):
        raise ValueError(f"{shown(url)} takes the payload {' or '.join(protocol.payloads)}, not {payload!r}")
    if access.answer and not (protocol is Pictures and fits(access.answer, ("json:FIELD",))):
        raise ValueError(f"--answer={access.answer}: expected json:FIELD, and an address that is neither :predict nor "
                         "/infer")
    token = _token(access.token or os.environ.get(TOKEN, ""))
    if address.scheme == "http" and address.host not in LOCAL:
        secret = f"a bearer token ({TOKEN})" if token else "a password" if address.userinfo else ""
        if secret:
            raise ValueError(f"{shown(url)}: {secret} is not sent over plain http; use https")
    line = access.line or Line(access.timeout, access.retries, {"Authorization": f"Bearer {token}"} if token else {},
                certificates(access.ca_bundle) if access.ca_bundle else True)
    transcript = Path(access.transcript) if access.transcript else None
    if transcript:
        _check_transcript(transcript)
    remote = Remote(url, protocol(payload, access.output, Tensor(access.input_name), access.signature, access.answer),
                    line, access.limit, transcript)
    return remote.informed()


def _address(url):
    if doubtful(url):  # what httpx says of it may quote a password
        raise SuspectError(f"{printable(veiled(url))} is no address; expected https://HOST[:PORT]/PATH, and in a "
                           "password %2F for / and %40 for @")
    return httpx.URL(url)


def _check_transcript(path):
    """Refuses, before anything is asked, a file where no lines can be added, and one that is something else."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no file; the transcript needs one, new or of earlier requests")
    check_place(path, f"the transcript {path}")
    if path.exists() and path.stat().st_size:
        with open(path, "rb") as file:
            if not file.readline(1 << 16).startswith(b"{"):
                raise ValueError(f"{path} is there and no transcript, and nothing is added to it; give another name")
        with open(path, "ab"):
            pass
    path.parent.mkdir(parents=True, exist_ok=True)


def _token(text):
    """A bearer token without the blanks and line ends around it, as files and copies have them."""
    if not re.fullmatch("[!-~]*", token := text.strip()):
        raise ValueError(f"the bearer token ({TOKEN}) has characters that no header takes; expected visible ASCII only")
    return token


@dataclass
class Remote:
    """A suspect behind a URL; made by `connect`."""

    url: str
    protocol: Protocol
    line: Line
    limit: int
    transcript: Path | None
    log: list = field(default_factory=list)

    watched = True  # whoever runs the service sees which question comes when

    @property
    def name(self) -> str:
        """Its address as others may see it."""
        return shown(self.url)

    def on(self, pixels: Pixels) -> Remote:
        """The same suspect on another range of pixels: of the numbers that go out and come back."""
        if not self.protocol.numbers:
            raise SuspectError(f"--range={pixels.told} is for numbers; {self.name} takes and gives images in files, "
                               "which are on [0, 1] (numbers in JSON come with --answer=json:FIELD)")
        return replace(self, protocol=replace(self.protocol, pixels=pixels))

    def sides(self, channels: int) -> tuple[int | None, int | None]:
        """(H, W) that the served model asks for, None for a free one or where the server does not tell."""
        return check_sides(self.protocol.tensor.sides(channels), self.name, LARGEST_SIDE)

    def at_once(self, sides: tuple[int, int]) -> int:
        """How many images of these sides (H, W) go into a request."""
        return self.protocol.tensor.exact or min(max(1, BATCH // (sides[0] * sides[1])), self.protocol.most or BATCH)

    @property
    def ranged(self) -> str:
        """What a range of pixels is for, in a sentence."""
        return RANGED if self.protocol.payload in NUMBERS else (
            "images go out in files; numbers that come back are read on {}")

    @property
    def notes(self) -> list[str]:
        """What is done to the pixels on the way, in sentences."""
        plain = (address := httpx.URL(self.url)).scheme == "http" and address.host not in LOCAL
        return [*self.protocol.notes, *([OPEN] if plain else [])]

    def informed(self) -> Remote:
        """Itself, with what the server's metadata say of the model's input; many tell nothing, and take any name."""
        try:
            self.protocol = replace(self.protocol, tensor=self.protocol.learnt(self.url.split("?")[0], self._told))
        except SuspectError:
            raise
        except Exception as error:  # whatever it says
            logging.getLogger(__name__).debug("%s tells nothing: %r", self.name, error)
        for note in self.notes:
            logging.getLogger(__name__).info(note)
        return self

    def _told(self, url):
        """What a server says of itself in JSON; {} where it says nothing."""
        status, body = self._exchange(httpx.Request("GET", url), METADATA)
        try:
            told = json.loads(body) if status == 200 else {}
        except (ValueError, RecursionError):
            return {}
        return told if isinstance(told, dict) else {}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """[N, H, W, C] -> [N, H', W', C]; a SuspectError says what the server did instead of answering."""
        images, tensor = np.asarray(images, np.float32), self.protocol.tensor
        if not tensor.exact:
            piece = self.at_once(images.shape[1:3])
            return together([self._ask(images[i:i + piece]) for i in range(0, len(images), piece)])
        if tensor.exact > EXACT:
            raise SuspectError(f"{self.name} takes {tensor.exact} images a request, no fewer; at most {EXACT} are sent")
        if tensor.exact > 1 and (numbers := tensor.exact * images[0].size) > FILLED:
            raise SuspectError(f"{self.name} takes {tensor.exact} images {list(images.shape[1:])} a request, "
                               f"{numbers:,} numbers; at most {FILLED:,} are sent")
        fill = np.repeat(images[-1:], -len(images) % tensor.exact, axis=0)
        filled = np.concatenate([images, fill])
        answers = [self._ask(filled[i:i + tensor.exact]) for i in range(0, len(filled), tensor.exact)]
        return together(answers)[:len(images)]

    def _ask(self, images):
        with raised_as(SuspectError, f"{self.name} cannot be asked"):
            body, kind = self.protocol.request(images)
        numbers = pixels_at_most(images.shape) * max(images.shape[3], 3)
        request = httpx.Request("POST", self.url, content=body, headers={"Content-Type": kind})
        status, content = self._exchange(request, min(self.limit, BYTES * numbers + FRAME))
        if status != 200:
            raise SuspectError(f"{self.name} answered with HTTP {status} ({_excerpt(content)})")
        try:
            answers = np.asarray(self.protocol.response(content, images), np.float32)
        except Exception as error:  # of whatever it is that came
            said = "" if "\ufffd" in (words := _excerpt(content)) else f"; it said: {words}"
            raise SuspectError(f"{self.name} answered with no image ({first_line(error)}){said}") from error
        if answers.ndim == 3:
            answers = answers[..., None] if len(answers) == len(images) else answers[None]
        if answers.ndim != 4 or len(answers) != len(images):
            raise SuspectError(f"{self.name}: expected {len(images)} images [H, W, C], got an array of shape "
                               f"{list(answers.shape)}")
        return answers

    def _exchange(self, request, limit):
        """(status, body), noted in the log whatever comes of it."""
        body = request.read()
        entry = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "method": request.method,
                 "url": shown(request.url), "request_sha256": hashlib.sha256(body).hexdigest(),
                 "request_bytes": len(body)}
        began, status, content = time.monotonic(), None, b""
        try:
            status, content = self.line.send(request, limit)
        finally:
            self._note(entry | ({"status": status} if status else {}) | {
                "response_sha256": hashlib.sha256(content).hexdigest(), "response_bytes": len(content),
                "seconds": round(time.monotonic() - began, 3)})
        return status, content

    def _note(self, entry):
        self.log.append(entry)
        if self.transcript:
            with locked(self.transcript):
                add_line(self.transcript, json.dumps(entry, sort_keys=True))


def _excerpt(content):
    """The beginning of an answer, for a message."""
    return printable(" ".join(content[:4096].decode("utf-8", "replace").split()))[:160] or "nothing"
