"""Parts of parameters that the HTTP actions share, each checked with a sentence. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

from workflows.actions.base import SAVING, BuiltinError
from workflows.actions.net import urls

Scalar = str | int | float | bool

MAX_HEADERS = 64
MAX_HEADER_CHARS = 8_192
# They frame the message or belong to the connection: set by hand they let one request pass for two.
RESERVED_HEADERS: Final = frozenset(
    {
        *("accept-encoding", "connection", "content-length", "expect", "host", "http2-settings"),
        *("keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer"),
        *("transfer-encoding", "upgrade"),
    }
)

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]{1,100}")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
_STATUSES = re.compile(
    r"(?P<one>[1-5][0-9]{2})|(?P<class>[1-5])[xX]{2}|(?P<low>[1-5][0-9]{2})-(?P<high>[1-5][0-9]{2})"
)


def _callable_url(url: str, info: ValidationInfo) -> str:
    # Judged when a definition is saved. In a run the action takes the URL apart itself, so that
    # the error is `http.invalid_url`, which a definition can catch, and not validation.input.
    if info.context == SAVING:
        try:
            urls.parse(url)
        except BuiltinError as error:
            raise ValueError(error.message) from None
    return url


Url = Annotated[
    str, Field(min_length=1, max_length=urls.MAX_URL_CHARS), AfterValidator(_callable_url)
]


def text_of(value: Scalar) -> str:
    """As people write it in a query or a header: true, not True."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _checked_headers(headers: dict[str, Scalar]) -> dict[str, Scalar]:
    seen = set()
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise ValueError("The name of a header has letters, digits and hyphens only.")
        if name.lower() in RESERVED_HEADERS:
            raise ValueError(f"The header {name} is set by the program itself.")
        if name.lower() in seen:
            raise ValueError(f"The header {name} stands there twice.")
        seen.add(name.lower())
        text = text_of(value)
        if not _VALUE.fullmatch(text) or len(text) > MAX_HEADER_CHARS:
            raise ValueError(
                f"The value of the header {name} must be plain ASCII without line breaks, "
                f"at most {MAX_HEADER_CHARS} characters."
            )
    return headers


RequestHeaders = Annotated[
    dict[str, Scalar], Field(max_length=MAX_HEADERS), AfterValidator(_checked_headers)
]


class Timeout(BaseModel):
    """Seconds: `connect` for finding and reaching the other side, `total` for everything."""

    model_config = ConfigDict(extra="forbid")

    connect: float = Field(default=10.0, gt=0, le=60)
    total: float = Field(default=30.0, gt=0, le=3_600)


def timeout_of(value: float | Timeout) -> Timeout:
    return value if isinstance(value, Timeout) else Timeout(connect=min(10.0, value), total=value)


def lower_case(headers: Mapping[str, Scalar]) -> dict[str, str]:
    return {name.lower(): text_of(value).strip() for name, value in headers.items()}


def statuses(value: int | str | list[int | str]) -> frozenset[int]:
    """The statuses meant by 200, "2xx", "200-204" or a list of such; raises ValueError."""
    found: set[int] = set()
    for item in value if isinstance(value, list) else [value]:
        match = _STATUSES.fullmatch(str(item))
        if match is None:
            raise ValueError(
                "A status such as 200, a class such as 2xx or a range such as 200-204 was expected."
            )
        if match["class"]:
            found.update(range(int(match["class"]) * 100, int(match["class"]) * 100 + 100))
        elif match["one"]:
            found.add(int(match["one"]))
        else:
            found.update(range(int(match["low"]), int(match["high"]) + 1))
    if not found:
        raise ValueError("At least one status was expected.")
    return frozenset(found)
