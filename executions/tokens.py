"""Tokens with which calls are ended from elsewhere: signed, each for one attempt at a step."""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.core import signing

_SIGNER = "executions.callback"
_TOKEN = re.compile(r"([0-9]{1,19})-([0-9]{1,10})-([0-9]{1,10})\.[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """An attempt at a step of an execution."""

    execution_id: int
    seq: int
    attempt: int


def make_token(place: Place) -> str:
    """The token of this attempt; whoever has it may say what the attempt came to."""
    return _signer().sign(f"{place.execution_id}-{place.seq}-{place.attempt}")


def read_token(token: str) -> Place | None:
    """What the token is for; None if it is not ours."""
    found = _TOKEN.fullmatch(token)
    if found is None:
        return None
    try:
        _signer().unsign(token)
    except signing.BadSignature:
        return None
    execution_id, seq, attempt = (int(part) for part in found.groups())
    return Place(execution_id, seq, attempt)


def _signer() -> signing.Signer:
    return signing.Signer(salt=_SIGNER, sep=".")
