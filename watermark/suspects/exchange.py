"""One HTTP request: one deadline and one limit on size over everything that a server does."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import re
import socket
import ssl
import threading
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx
from anyio.from_thread import start_blocking_portal

from watermark.errors import first_line, printable
from watermark.files import content
from watermark.ports import SuspectError, Unreachable

RETRIED = (429, 502, 503, 504)
PAUSE = 0.5  # seconds before the first retry, doubled each time; a server's Retry-After could have us wait for hours
ENCODINGS = ("identity", "gzip", "deflate")  # one of them, once: archives of archives grow without bound
CERTIFICATES = 16 << 20  # bytes of a bundle


LOCAL = ("localhost", "127.0.0.1", "::1")  # secrets may go there without TLS, and go nowhere else on the way


def shown(url: object) -> str:
    """An address as others may see it: without user, password and the values of its query, which may be secrets.

    >>> shown("https://ada:pw@models.example/denoise?key=SECRET&v=1")
    'https://models.example/denoise?key=…&v=…'
    """
    address, mark, query = re.sub("//[^/?#]*@", "//", str(url)).partition("#")[0].partition("?")
    return address + mark + "&".join(f"{name}={'…' if value else ''}" if equals else "…" for name, equals, value in (
        part.partition("=") for part in query.split("&") if mark))


def veiled(text: object) -> str:
    """What was given as a suspect and is no address, without what may be a password: anything up to the last @.

    >>> veiled("https://ada:pass/word@models.example/denoise")
    'https://models.example/denoise'
    """
    if not re.search("://|:.*@", text := str(text), re.DOTALL):
        return text
    return shown(re.sub(r"\A(\w+:/+)?.*@", r"\1", text, flags=re.DOTALL))


def doubtful(url: object) -> bool:
    """Whether an address may be one whose password has a / in it: it is none, or has an @ behind a host with a port.

    >>> doubtful("https://ada:12/ss@models.example/denoise"), doubtful("https://ada:pw@models.example/denoise")
    (True, False)
    """
    try:
        httpx.URL(str(url))
    except (ValueError, httpx.InvalidURL):
        return True
    return bool(re.match(r"\w+://[^/?#@]*:[^/?#@]*[/?#].*@", str(url), re.DOTALL))


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that looks up addresses in threads nobody waits for: a resolver may take minutes."""

    async def getaddrinfo(self, *where, **how):
        """See `socket.getaddrinfo`."""
        found = concurrent.futures.Future()

        def look_up():
            with contextlib.suppress(concurrent.futures.InvalidStateError):  # given up meanwhile
                try:
                    found.set_result(socket.getaddrinfo(*where, **how))
                except Exception as error:
                    found.set_exception(error)

        threading.Thread(target=look_up, daemon=True).start()
        return await asyncio.wrap_future(found)


@dataclass
class Line:
    """A way to servers.

    Attributes:
      timeout: seconds for one request, from looking up the address to the last byte of the answer, retries included.
      retries: after a refused connection or a status in `RETRIED`.
      headers: that go with every request.
      verify: an `ssl.SSLContext`, or True for the usual certificates.
    """

    timeout: float
    retries: int
    headers: dict = field(default_factory=dict, repr=False)
    verify: ssl.SSLContext | bool = True

    def send(self, request: httpx.Request, limit: int) -> tuple[int, bytes]:
        """(status, body) of the answer to an `httpx.Request`, or a SuspectError; the body has at most `limit` bytes.

        The exchange runs in an event loop of its own, where a deadline cuts off whatever is going on: a byte a second
        of a status line, a header, a chunk, or one "100 Continue" after the other.
        """
        try:
            # A thread, for a notebook has a loop already.
            with start_blocking_portal("asyncio", {"loop_factory": _Loop}) as portal:
                return portal.call(self._send, request, limit)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise Unreachable(f"{shown(request.url)} did not answer within {self.timeout:g} s") from error
        except SuspectError:
            raise
        except Exception as error:  # of TLS, of HTTP, of decompression
            what = "its TLS certificate does not hold" if _of_tls(error) else "it cannot be reached or broke off"
            kind = Unreachable if isinstance(error, httpx.ConnectError) else SuspectError
            raise kind(f"{shown(request.url)}: {what} ({first_line(error)})") from error

    async def _send(self, request, limit):
        with anyio.fail_after(self.timeout):
            request.headers.update(self.headers | {"Accept-Encoding": "identity"})
            # A TLS handshake that is cut off from outside leaves its socket open; its own, shorter limit closes it.
            limits = httpx.Timeout(None, connect=0.7 * self.timeout)
            # Of a proxy for plain HTTP, which would read what is for this machine alone, nothing is known here.
            trusting = request.url.scheme == "https" or request.url.host not in LOCAL
            async with httpx.AsyncClient(verify=self.verify, timeout=limits, trust_env=trusting) as client:
                for left in range(self.retries, -1, -1):
                    try:
                        status, body = await _once(client, request, limit)
                    except httpx.ConnectError as error:
                        if not left or _of_tls(error):
                            raise
                    else:
                        if not left or status not in RETRIED:
                            return status, body
                    await anyio.sleep(PAUSE * 2.0 ** (self.retries - left))


async def _once(client, request, limit):
    body = bytearray()
    response = await client.send(request, stream=True)
    try:
        if (encoding := response.headers.get("Content-Encoding", "identity").lower()) not in ENCODINGS:
            raise SuspectError(f"{shown(request.url)} answered in the encoding {printable(encoding)[:40]!r}")
        async for block in response.aiter_bytes():
            body += block
            if max(len(body), response.num_bytes_downloaded) > limit:
                raise SuspectError(f"{shown(request.url)} sent more than {limit} bytes")
    finally:
        await response.aclose()
    return response.status_code, bytes(body)


def _of_tls(error):
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def certificates(path: str | Path) -> ssl.SSLContext:
    """An `ssl.SSLContext` that trusts the certificates (PEM) of a file only; a ValueError where there is none."""
    try:
        return ssl.create_default_context(cadata=content(path, CERTIFICATES).decode("ascii"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as certificates in PEM ({first_line(error)})") from error
