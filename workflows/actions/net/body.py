"""Bodies of answers: unpacked within a bound, and turned into text or JSON. Pure."""

from __future__ import annotations

import codecs
import json
import re
import zlib
from email.message import Message
from typing import Any, NoReturn

# Text encodings of the Web (https://encoding.spec.whatwg.org). Not Python's whole list: `idna`
# and `punycode` in it take quadratic time.
_CHARSETS = re.compile(
    r"utf-8|utf-16|utf-16-le|utf-16-be|ascii|iso8859-\d+|cp125\d|cp866|koi8-[ru]|"
    r"gbk|gb18030|gb2312|big5|big5hkscs|euc_jp|euc_kr|shift_jis|iso2022_jp|mac-roman"
)


class TooLargeError(Exception):
    """The body is larger than allowed, packed or unpacked."""


class UnreadableError(Exception):
    """The body is not what its headers say; the message says why, to follow "failed:"."""


class Collector:
    """Takes a body chunk by chunk; holds at most `limit` bytes, and never unpacks more."""

    def __init__(self, encoding: str, limit: int) -> None:
        """encoding: the header Content-Encoding. Raises UnreadableError if it is not supported."""
        self._limit = limit
        self._received = 0
        self._held = 0
        self._chunks: list[bytes] = []
        self._unpacker = None
        if encoding.strip().lower() in ("gzip", "x-gzip"):
            self._unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
        elif encoding.strip().lower() not in ("", "identity"):
            raise UnreadableError("its body is packed in a way that was not offered")

    def expect(self, announced: str) -> None:
        """announced: the digits of Content-Length. Raises TooLargeError before anything is read."""
        if len(announced) > 18 or int(announced) > self._limit:
            raise TooLargeError

    def feed(self, chunk: bytes) -> None:
        """Raises TooLargeError at the first byte too many, UnreadableError for bad gzip."""
        self._received += len(chunk)
        if self._received > self._limit:
            raise TooLargeError
        if self._unpacker is not None:
            chunk = self._unpack(self._unpacker, chunk)
        self._held += len(chunk)
        if self._held > self._limit:
            raise TooLargeError
        self._chunks.append(chunk)

    def _unpack(self, unpacker: Any, chunk: bytes) -> bytes:
        if unpacker.eof:
            raise UnreadableError("bytes follow the end of its gzip body")
        try:
            # One byte more than there is room for is enough to know.
            unpacked: bytes = unpacker.decompress(chunk, self._limit - self._held + 1)
        except zlib.error:
            raise UnreadableError("its body is no valid gzip") from None
        if unpacker.unused_data:
            raise UnreadableError("bytes follow the end of its gzip body")
        return unpacked

    @property
    def so_far(self) -> bytes:
        return b"".join(self._chunks)

    def finish(self) -> bytes:
        """The whole body; raises UnreadableError if its end is missing."""
        if self._unpacker is not None and self._received and not self._unpacker.eof:
            raise UnreadableError("its gzip body ends too early")
        return self.so_far


def is_json(content_type: str) -> bool:
    """application/json, text/json and anything that ends in +json."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind in ("application/json", "text/json") or kind.endswith("+json")


def charset_of(content_type: str) -> str:
    """The charset that the header names, if it is one of the Web's; else utf-8."""
    message = Message()
    message["content-type"] = content_type[:200]
    try:
        name = codecs.lookup(str(message.get_param("charset", "utf-8"))).name
    except (LookupError, ValueError):
        return "utf-8"
    return name if _CHARSETS.fullmatch(name) else "utf-8"


def parse_json(text: str) -> Any:
    """Raises ValueError for what is no JSON, nested too deep, or not a number of JSON."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
