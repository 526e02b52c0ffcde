"""The few steps in DER, the form of time stamps, that the library which reads them leaves to others."""

from __future__ import annotations

import contextlib


def in_order(response: bytes) -> bytes:
    """An authority's answer with its certificates in DER's order, which OpenSSL does not keep and its reader wants.

    They are a set, [0] in SignedData (RFC 5652, 5.1), that no signature covers. What is not as it should be is left.
    """
    with contextlib.suppress(IndexError):
        token = _parts(response, 0)[1]  # of TimeStampResp; in it ContentInfo's [0], and in that SignedData
        signed = _parts(response, _parts(response, token)[1])[0]
        for at in _parts(response, signed):
            if response[at] == 0xA0:
                parts = _parts(response, at)
                ends = [*parts[1:], _span(response, at)[1]]
                ordered = sorted(response[a:b] for a, b in zip(parts, ends, strict=True))
                return response[:parts[0]] + b"".join(ordered) + response[ends[-1]:]
    return response


def _span(der, at):
    """Where the contents of the DER value at `at` begin and end."""
    length, first = der[at + 1], at + 2
    if length >= 0x80:
        length, first = int.from_bytes(der[first:first + length - 0x80], "big"), first + length - 0x80
    return first, first + length


def _parts(der, at):
    """Where the values begin that the DER value at `at` holds."""
    first, end = _span(der, at)
    found = []
    while first < end:
        found.append(first)
        first = _span(der, first)[1]
    return found
