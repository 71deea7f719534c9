"""No document whatsoever makes validation raise."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from autopilot.common.problems import Problem
from tests.unit.definition.catalogs import CATALOG, document, noop
from workflows.definition.compiled import compile_definition, content_hash, normalize_definition
from workflows.definition.graph import to_graph
from workflows.definition.validation import validate_definition

KEYS = [
    "name",
    "steps",
    "type",
    "config",
    "action",
    "with",
    "id",
    "next",
    "when",
    "assign",
    "output",
    "choices",
    "default",
    "duration",
    "until",
    "branches",
    "items",
    "as",
    "finally",
    "catch",
    "errors",
    "input_schema",
    "labels",
    "on_failure",
    "concurrency",
    "key",
    "redact",
    "$ref",
    "properties",
    "pattern",
    "anyOf",
    "timeout",
    "retry",
    "compensate",
    "error",
    "message",
    "heartbeat",
    "defaults",
    "continue_as_new",
    "input",
    "max_attempts",
    "max_interval",
    "tolerated_failures",
]
TYPES = ["action", "choice", "map", "parallel", "group", "wait", "signal", "fail", "succeed"]
TEXTS = [
    *TYPES,
    "noop",
    "mail.send",
    "end",
    "a",
    "b",
    "5m",
    "PT1M",
    "{{ input.x }}",
    "{{ steps.a }}",
    "{{",
    "{{ 1 + }}",
    "#",
    "#/properties/a",
    "\x00",
    "\ud800",
    "",
    "compensate",
    "*",
    "http.5xx",
    "10%",
    "/input/x",
    "/steps/a/output",
]
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(TEXTS)
    | st.text(max_size=8)
)
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner, max_size=5)
    ),
    max_leaves=25,
)

FULL = document(
    noop(id="a", assign={"n": "{{ steps.a.output }}"}, timeout="5m", when="input.x"),
    {
        "id": "c",
        "type": "choice",
        "config": {"choices": [{"when": "vars.n == 1", "next": "w"}], "default": "end"},
    },
    {"id": "w", "type": "wait", "config": {"duration": "1h"}},
    {"id": "p", "type": "parallel", "config": {"branches": [{"name": "x", "steps": [noop()]}]}},
    {
        "id": "m",
        "type": "map",
        "config": {
            "items": "input.rows",
            "steps": [noop(catch=[{"errors": ["*"], "next": "end"}])],
        },
    },
    {"id": "g", "type": "group", "config": {"steps": [noop()], "finally": [noop()]}},
    {"id": "s", "type": "signal", "config": {"signal": "x", "schema": {"type": "object"}}},
    {"id": "q", "type": "approval", "config": {"title": "{{ input.x }}?", "form": {}}},
    {"id": "f", "type": "fail", "when": "input.x", "config": {"error": "a.b", "message": "no"}},
    {"id": "z", "type": "succeed", "config": {"output": "{{ steps.a.output }}"}},
    input_schema={"type": "object", "properties": {"x": {"pattern": "^a$"}}},
    labels={"team": "a"},
    output={"x": "{{ steps.w.state }}"},
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every place in the value, its holder with the key; level by level, however deep it is."""
    found: list[tuple[Any, Any]] = []
    holders = [value]
    for holder in holders:
        for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
            found.append((holder, key))
            if isinstance(holder[key], dict | list):
                holders.append(holder[key])
    return found


HANDLING = document(
    noop(
        id="a",
        heartbeat="5s",
        retry={"max_attempts": 3, "initial_interval": 1, "max_interval": 60, "budget": "5m"},
        catch=[{"errors": ["http.5xx"], "next": "z", "as": "b"}],
    ),
    {
        "id": "m",
        "type": "map",
        "config": {
            "items": "input.rows",
            "as": "row",
            "steps": [noop(id="i", assign={"n": "{{ row.n + index }}"})],
            "tolerated_failures": "10%",
        },
    },
    {
        "id": "g",
        "type": "group",
        "config": {
            "steps": [noop(id="x", catch=[{"errors": ["*"], "next": "end", "as": "c"}])],
            "finally": [noop(when="error is null")],
        },
    },
    {"id": "t", "type": "transform", "config": {"output": "{{ default(c.code, b) }}"}},
    {"id": "z", "type": "succeed", "config": {"continue_as_new": {"input": "{{ error }}"}}},
    timeout="1h",
    defaults={"retry": {"errors": ["http.*"], "except": ["http.4xx"]}, "timeout": "30s"},
    redact=["/input/x", "/steps/a/output", "/output"],
)

PLACES = len(places(FULL))


def check(doc: object) -> None:
    problems = validate_definition(doc, catalog=CATALOG)
    assert all(type(problem) is Problem for problem in problems)
    assert len(problems) <= 201
    for problem in problems:
        assert problem.path.startswith("$")
        assert problem.message
        problem.path.encode("utf-8")
        problem.message.encode("utf-8")
    if not isinstance(doc, dict):
        return
    if not problems:
        compiled = compile_definition(doc)
        assert {step.scope for step in compiled.steps.values()} == set(compiled.scopes)
        inside = [id_ for scope in compiled.scopes.values() for id_ in scope.step_ids]
        assert sorted(inside) == sorted(compiled.steps)
        normal = normalize_definition(doc)
        assert compile_definition(normal).scope == compiled.scope
        assert content_hash(normal) == content_hash(normalize_definition(normal))


@settings(max_examples=300, deadline=None)
@given(values)
def test_any_json(doc: Any) -> None:
    check(doc)
    check({"name": "x", "steps": doc})
    check({"name": "x", "steps": [doc]})
    check(document(noop(), input_schema=doc))


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(TYPES), values)
def test_any_config(type_: str, config: Any) -> None:
    check(document({"id": "a", "type": type_, "config": config}))


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, PLACES), values | st.just(...)), min_size=1, max_size=4))
def test_mutations_of_a_full_document(changes: list[tuple[int, Any]]) -> None:
    for full in (FULL, HANDLING):
        check_mutated(copy.deepcopy(full), changes)


def check_mutated(doc: dict[str, Any], changes: list[tuple[int, Any]]) -> None:
    for number, value in changes:
        found = places(doc)
        if not found:
            break
        holder, key = found[number % len(found)]
        if value is ...:
            del holder[key]
        else:
            # A copy: what one change has put in may be changed by a later one, here or in the
            # next document, and a value must never come to hold itself.
            holder[key] = copy.deepcopy(value)
    check(doc)
    to_graph(doc)
