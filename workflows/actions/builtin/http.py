"""`http.request`: calls a service over HTTP."""

from __future__ import annotations

import base64
import json
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlencode

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    model_validator,
)

from workflows.actions import Context, action
from workflows.actions.net import errors
from workflows.actions.net.body import charset_of, is_json, parse_json
from workflows.actions.net.exchange import MAX_REDIRECTS, Answer, Call, exchange
from workflows.actions.net.params import (
    RequestHeaders,
    Scalar,
    Timeout,
    Url,
    lower_case,
    statuses,
    text_of,
    timeout_of,
)
from workflows.actions.net.urls import parse

MAX_RESPONSE_BYTES = 1024 * 1024
HARD_MAX_RESPONSE_BYTES = 16 * 1024 * 1024
# Of an answer's headers so much is kept, the first ones.
MAX_KEPT_HEADER_BYTES = 16 * 1024

# Asked twice, they come to the same (RFC 9110, 9.2.2).
REPEATABLE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
KEY_HEADER = "idempotency-key"

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
Pairs = dict[str, Scalar | list[Scalar] | None]


class BasicAuth(BaseModel):
    """A user name and a password, sent as RFC 7617 has it."""

    model_config = ConfigDict(extra="forbid")

    username: str = Field(max_length=500, pattern=r"^[^:\x00-\x1f\x7f]*$")
    password: str = Field(max_length=1_000, pattern=r"^[^\x00-\x1f\x7f]*$")

    def header(self) -> str:
        pair = f"{self.username}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode()


class BearerAuth(BaseModel):
    """A token, sent as RFC 6750 has it."""

    model_config = ConfigDict(extra="forbid")

    bearer: str = Field(min_length=1, max_length=8_000, pattern=r"^[A-Za-z0-9._~+/=\-]+$")

    def header(self) -> str:
        return f"Bearer {self.bearer}"


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _known_statuses(value: int | str | list[int | str]) -> int | str | list[int | str]:
    statuses(value)
    return value


class HttpRequestParams(BaseModel):
    """What to ask, and what counts as an answer. See docs/actions.md."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    method: Annotated[Method, BeforeValidator(_upper)] = "GET"
    url: Url
    headers: RequestHeaders = Field(default_factory=dict)
    query: Pairs = Field(default_factory=dict, max_length=200)
    auth: BasicAuth | BearerAuth | None = None
    json_: JsonValue = Field(default=None, alias="json")
    body: str | None = None
    form: Pairs | None = None
    expected_status: Annotated[int | str | list[int | str], AfterValidator(_known_statuses)] = "2xx"
    timeout: Annotated[float, Field(gt=0, le=3_600)] | Timeout = Field(default_factory=Timeout)
    max_response_bytes: int = Field(default=MAX_RESPONSE_BYTES, ge=1, le=HARD_MAX_RESPONSE_BYTES)
    follow_redirects: bool = False
    discard_body: bool = False
    idempotency_header: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]{1,100}$")

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if len(self.model_fields_set & {"json_", "body", "form"}) > 1:
            raise ValueError("Only one of json, body and form can be sent.")
        if self.auth and "authorization" in {name.lower() for name in self.headers}:
            raise ValueError("Either auth or a header Authorization was expected, not both.")
        return self

    def content(self) -> tuple[bytes | None, str | None]:
        """The body's bytes and their type; None = there is none."""
        if "json_" in self.model_fields_set:
            text = json.dumps(self.json_, ensure_ascii=False, allow_nan=False)
            return text.encode(), "application/json"
        if self.form is not None:
            return urlencode(_flat(self.form)).encode(), "application/x-www-form-urlencoded"
        if self.body is not None:
            return self.body.encode(), "text/plain; charset=utf-8"
        return None, None


def can_repeat(params: HttpRequestParams) -> bool:
    """By the method, or because the other side knows a repeated request by its key."""
    has_key = params.idempotency_header or KEY_HEADER in {name.lower() for name in params.headers}
    return params.method in REPEATABLE_METHODS or bool(has_key)


@action("http.request", schema=HttpRequestParams, idempotent=can_repeat)
async def http_request(params: HttpRequestParams, context: Context) -> dict[str, Any]:
    """Call a service over HTTP and return its answer."""
    answer = await exchange(_call(params, context))
    return _output(params, answer)


def _call(params: HttpRequestParams, context: Context) -> Call:
    content, content_type = params.content()
    headers = lower_case(params.headers)
    if content_type:
        headers.setdefault("content-type", content_type)
    if params.auth:
        headers["authorization"] = params.auth.header()
    if params.idempotency_header:
        headers.setdefault(params.idempotency_header.lower(), context.idempotency_key)
    timeout = timeout_of(params.timeout)
    return Call(
        method=params.method,
        target=parse(params.url).with_query(_flat(params.query)),
        headers=tuple(headers.items()),
        body=content,
        expected=statuses(params.expected_status),
        connect_seconds=timeout.connect,
        total_seconds=timeout.total,
        max_bytes=params.max_response_bytes,
        max_redirects=MAX_REDIRECTS if params.follow_redirects else 0,
        discard_body=params.discard_body,
    )


def _flat(pairs: Pairs) -> list[tuple[str, str]]:
    """One pair for each value of a list, none for null."""
    return [
        (name, text_of(each))
        for name, value in pairs.items()
        if value is not None
        for each in (value if isinstance(value, list) else [value])
    ]


def _output(params: HttpRequestParams, answer: Answer) -> dict[str, Any]:
    output: dict[str, Any] = {
        "status": answer.status,
        "url": answer.url,
        "headers": _kept_headers(answer),
        "elapsed_ms": answer.elapsed_ms,
    }
    if params.discard_body:
        return output
    content_type = answer.headers.get("content-type", "")
    charset = "utf-8" if is_json(content_type) else charset_of(content_type)
    try:
        text = answer.body.decode("utf-8-sig" if charset == "utf-8" else charset)
    except (UnicodeDecodeError, LookupError):
        raise errors.not_text(f"{params.method} {answer.url}", charset) from None
    if is_json(content_type):
        try:
            return {**output, "json": parse_json(text)}
        except ValueError:
            # The text shows what it was instead, such as the login page of a proxy.
            pass
    return {**output, "text": text}


def _kept_headers(answer: Answer) -> dict[str, str]:
    kept: dict[str, str] = {}
    room = MAX_KEPT_HEADER_BYTES
    for name in answer.headers:
        value = answer.headers[name]
        room -= len(name) + len(value)
        if room < 0:
            break
        kept[name.lower()] = value
    return kept
