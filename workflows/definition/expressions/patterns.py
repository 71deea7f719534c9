"""Regular expressions by RE2, whose time grows only with the length of pattern and text."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import re2

from workflows.definition.expressions.bounds import Meter
from workflows.definition.expressions.errors import Refusal, kind

MAX_PATTERN = 1000
_MAX_MEMORY_BYTES = 1 << 18
_COMPILE_OPERATIONS = 1_000
_OPERATIONS_PER_INSTRUCTION = 2
_STATE_CHARACTERS_PER_OPERATION = 100


@lru_cache(maxsize=256)
def compile_pattern(pattern: str) -> Any:
    """The compiled pattern; refused when RE2 cannot read it or it needs too much memory."""
    if len(pattern) > MAX_PATTERN:
        raise Refusal(f"got a pattern of more than {MAX_PATTERN:,} characters")
    options = re2.Options()
    options.max_mem = _MAX_MEMORY_BYTES
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except (re2.error, ValueError):
        raise Refusal("got a pattern that RE2 does not accept") from None


def regex_match(meter: Meter, pattern: object, text: object, group: object = None) -> Any:
    """Whether `pattern` fits at the beginning of `text`; with `group`, what that group took."""
    return _apply(meter, "match", pattern, text, group)


def regex_search(meter: Meter, pattern: object, text: object, group: object = None) -> Any:
    """Whether `pattern` fits anywhere in `text`; with `group`, what that group took."""
    return _apply(meter, "search", pattern, text, group)


def _apply(meter: Meter, method: str, pattern: object, text: object, group: object) -> Any:
    if not isinstance(pattern, str) or not isinstance(text, str):
        wrong = text if isinstance(pattern, str) else pattern
        raise Refusal(f"needs a pattern and a text, not {kind(wrong)}")
    if pattern in meter.patterns:
        compiled = compile_pattern(pattern)
    else:
        # Compiling is cached, but paid for once in each evaluation: what an expression may do
        # must not depend on what ran before it.
        meter.charge(_COMPILE_OPERATIONS)
        compiled = compile_pattern(pattern)
        meter.charge(compiled.programsize * _OPERATIONS_PER_INSTRUCTION)
        meter.patterns.add(pattern)
    meter.charge(1 + len(text) * compiled.programsize // _STATE_CHARACTERS_PER_OPERATION)
    found = getattr(compiled, method)(text)
    if group is None:
        return found is not None
    if type(group) not in (int, str):
        raise Refusal(f"needs a group's number or name, not {kind(group)}")
    known = compiled.groupindex if isinstance(group, str) else range(compiled.groups + 1)
    if group not in known:
        raise Refusal("names a group that the pattern does not have")
    return None if found is None else found.group(group)
