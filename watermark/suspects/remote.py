"""A suspect behind HTTP: TensorFlow Serving's REST API, the Open Inference Protocol v2, or plain images.

https://www.tensorflow.org/tfx/serving/api_rest and
https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

import contextlib
import hashlib
import json
import os
import re
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import requests
from urllib3.util.retry import Retry

from watermark.inference import SuspectError
from watermark.suspects.protocols import PROTOCOLS, Infer, Pictures

TOKEN = "WATERMARK_TOKEN"
LARGEST = 256 << 20  # bytes of one response
RETRIED = (429, 502, 503, 504)
BATCH = 1 << 16  # pixels a request: a trigger a request from 256x256 up, 40 of 40x40


def is_url(spec):
    """Whether a suspect is named by an address."""
    return str(spec).startswith(("http://", "https://"))


def connect(url, *, output=None, input_name=None, payload=None, timeout=30.0, retries=3, transcript=None, token=None,
            ca_bundle=None, limit=LARGEST):
    """A suspect behind a URL.

    Args:
      url: `.../v1/models/NAME:predict` (TensorFlow Serving), `.../v2/models/NAME/infer` (Open Inference Protocol), or
        any other address, which gets one PNG a request and answers with an image.
      output: name of the output to look at, where there are several.
      input_name: of the input tensor (Open Inference Protocol); by default what the server's metadata say.
      payload: "json", numbers as they are, or "png", images in 8 bits, which costs some evidence: answers beyond
        [0, 1] are cut. The default is "json" for the two protocols, "png" for other addresses.
      timeout: seconds for connecting, and for each silence of the server.
      retries: how often a request is put again, with doubling pauses, after a refused connection, a timeout, or
        status 429, 502, 503 or 504.
      transcript: file to which a line of JSON is added for every request: when, what digest went out, what came back.
      token: bearer token; by default the environment's WATERMARK_TOKEN.
      ca_bundle: certificates to trust instead of the usual ones. TLS is always verified.
      limit: bytes that one response may have.

    Returns:
      A `Remote`, a callable float32 [N, H, W, C] -> [N, H', W', C].
    """
    protocol = next((p for pattern, p in PROTOCOLS if re.search(pattern, url.split("?")[0])), Pictures)
    payload = payload or protocol.payloads[0]
    if payload not in protocol.payloads:
        raise ValueError(f"{url} takes the payload {' or '.join(protocol.payloads)}, not {payload!r}")
    session = requests.Session()
    pauses = Retry(total=retries, backoff_factor=0.5, status_forcelist=RETRIED, allowed_methods=None,
                   raise_on_status=False, respect_retry_after_header=False)  # a server could have us wait for hours
    for scheme in ("http://", "https://"):
        session.mount(scheme, requests.adapters.HTTPAdapter(max_retries=pauses))
    token = token or os.environ.get(TOKEN)
    address = urlsplit(url)
    if token and address.scheme == "http" and address.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise ValueError(f"{url}: a bearer token ({TOKEN}) is not sent over plain http; use https")
    if token:
        session.headers["Authorization"] = f"Bearer {token}"
    if protocol is Infer:
        input_name = input_name or _input_name(session, url, timeout, ca_bundle or True)
    transcript = Path(transcript) if transcript else None
    return Remote(url, protocol(payload, output, input_name), session, timeout, limit, ca_bundle or True, transcript)


def _input_name(session, url, timeout, verify):
    """The name of the model's input, "image" where the server does not tell: many take any."""
    with contextlib.suppress(requests.exceptions.RequestException, ValueError, LookupError, TypeError):
        metadata = session.get(url.split("?")[0].removesuffix("/infer"), timeout=timeout, allow_redirects=False,
                               verify=verify)
        return str(metadata.json()["inputs"][0]["name"])
    return "image"


@dataclass
class Remote:
    """A suspect behind a URL; made by `connect`."""

    url: str
    protocol: object
    session: requests.Session
    timeout: float
    limit: int
    verify: str | bool  # handed to every request, for requests lets the environment overrule a session's
    transcript: Path | None
    log: list = field(default_factory=list)

    def __call__(self, images):
        """[N, H, W, C] -> [N, H', W', C]; a SuspectError says what the server did instead of answering."""
        images = np.asarray(images, np.float32)
        piece = max(1, BATCH // (images.shape[1] * images.shape[2])) if self.protocol.batches else 1
        return np.concatenate([self._ask(images[i:i + piece]) for i in range(0, len(images), piece)])

    def _ask(self, images):
        body, kind = self.protocol.request(images)
        content = self._post(body, kind)
        try:
            answers = np.asarray(self.protocol.response(content), np.float32)
        except (ValueError, KeyError, TypeError, IndexError, OSError) as error:
            raise SuspectError(f"{self.url} answered with no image ({self._excerpt(error)})") from error
        if answers.ndim == 3 and len(images) > 0:
            answers = answers[..., None] if len(answers) == len(images) else answers[None]
        if answers.ndim != 4 or len(answers) != len(images):
            raise SuspectError(f"{self.url}: expected {len(images)} images [H, W, C], got an array of shape "
                               f"{list(answers.shape)}")
        return answers

    def _post(self, body, kind):
        entry = {"time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"), "url": self.url,
                 "request_sha256": hashlib.sha256(body).hexdigest(), "request_bytes": len(body)}
        began, content = time.monotonic(), b""
        try:
            with self.session.post(self.url, data=body, headers={"Content-Type": kind}, timeout=self.timeout,
                                   stream=True, allow_redirects=False, verify=self.verify) as response:
                entry["status"] = response.status_code
                content = self._limited(response, began)
        except requests.exceptions.SSLError as error:
            raise SuspectError(f"{self.url}: its TLS certificate does not hold ({self._excerpt(error)})") from error
        except (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            raise SuspectError(f"{self.url} cannot be reached or broke off ({self._excerpt(error)})") from error
        except requests.exceptions.Timeout as error:
            raise SuspectError(f"{self.url} did not answer within {self.timeout:g} s") from error
        except requests.exceptions.RequestException as error:
            raise SuspectError(f"{self.url}: {self._excerpt(error)}") from error
        finally:
            self._note(entry | {"response_sha256": hashlib.sha256(content).hexdigest(),
                                "response_bytes": len(content), "seconds": round(time.monotonic() - began, 3)})
        if response.status_code != 200:
            raise SuspectError(f"{self.url} answered with HTTP {response.status_code} ({self._excerpt(content)})")
        return content

    def _limited(self, response, began):
        """The body, unless it is too large or drips in too slowly."""
        content = bytearray()
        for block in response.iter_content(1 << 16):
            content += block
            if len(content) > self.limit:
                raise SuspectError(f"{self.url} sent more than {self.limit} bytes")
            if time.monotonic() - began > 10.0 * self.timeout:
                raise SuspectError(f"{self.url} took longer than {10.0 * self.timeout:g} s for one answer")
        return bytes(content)

    def _note(self, entry):
        self.log.append(entry)
        if self.transcript:
            with open(self.transcript, "a", encoding="utf-8") as file:
                file.write(json.dumps(entry, sort_keys=True) + "\n")

    @staticmethod
    def _excerpt(what):
        text = what.decode("utf-8", "replace") if isinstance(what, bytes) else str(what)
        return " ".join(text.split())[:160] or "nothing"
