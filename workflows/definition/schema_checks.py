"""Whether a JSON Schema may be used here: valid 2020-12, self-contained, bounded, safe to run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import jsonschema_rs

from autopilot.common.problems import Problem
from workflows.definition.json_values import exceeds_bytes, find_unstorable
from workflows.definition.paths import join, join_all, quote
from workflows.definition.schema_cost import Node, find_costly, subschemas
from workflows.definition.schemas import compile_validator, describe

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MAX_SCHEMA_BYTES = 128 * 1024
MAX_SCHEMA_DEPTH = 32
MAX_SUBSCHEMAS = 2000
MAX_PATTERNS = 100
MAX_PATTERN = 512
_MAX_FINDINGS = 20

_META = jsonschema_rs.Draft202012Validator({"$ref": DIALECT}, offline=True)


def check_schema(schema: object, path: str) -> list[Problem]:
    """Everything that keeps `schema` from being used, each at its path; empty when it may be.

    Checked: the 2020-12 meta-schema; size, depth and number of subschemas; every reference leads
    to a place inside the same schema; every pattern compiles on the linear-time engine; recursion
    and references cannot multiply the work. Nothing is ever fetched.
    """
    if isinstance(schema, bool):
        return []
    if not isinstance(schema, dict):
        return [Problem(path, "schema.invalid", "A JSON Schema must be an object, true or false.")]
    if exceeds_bytes(schema, MAX_SCHEMA_BYTES):
        limit = f"{MAX_SCHEMA_BYTES // 1024} KiB"
        return [Problem(path, "schema.too_large", f"A schema may have {limit} at most.")]
    unstorable = list(find_unstorable(schema, path))
    problems = unstorable or list(_meta_problems(schema, path))
    if problems:
        return problems
    reader = _Reader(schema, path)
    problems = reader.problems
    if not problems:
        costly = find_costly(reader.nodes)
        problems.extend(Problem(where, "schema.too_complex", text) for where, text in costly)
    if not problems:
        problems.extend(_compile_problems(schema, path))
    return problems[:_MAX_FINDINGS]


def _meta_problems(schema: dict[str, Any], path: str) -> Iterator[Problem]:
    dialect = schema.get("$schema")
    if dialect is not None and dialect not in (DIALECT, DIALECT + "#"):
        yield Problem(
            join(path, "$schema"), "schema.dialect", f'Only JSON Schema 2020-12 works: "{DIALECT}".'
        )
        return
    for count, error in enumerate(_META.iter_errors(schema)):
        if count >= _MAX_FINDINGS:
            return
        where = join_all(path, error.instance_path)
        if error.schema_path[-1:] == ["format"] or "Format" in type(error.kind).__name__:
            continue  # patterns are looked at by the engine that will run them
        yield Problem(where, "schema.invalid", f"This is no valid JSON Schema. {describe(error)}")


def _compile_problems(schema: dict[str, Any], path: str) -> Iterator[Problem]:
    try:
        compile_validator(schema)
    except jsonschema_rs.ValidationError as error:
        where = join_all(path, error.instance_path)
        yield Problem(where, "schema.invalid", f"This schema cannot be used. {describe(error)}")
    except (ValueError, TypeError, OverflowError) as error:
        yield Problem(path, "schema.invalid", f"This schema cannot be used: {quote(str(error))}.")


class _Reader:
    """Reads a schema into nodes, with the problems of each on the way."""

    def __init__(self, schema: dict[str, Any], path: str) -> None:
        self.root = schema
        self.path = path
        self.nodes: list[Node] = []
        self.problems: list[Problem] = []
        self._by_schema: dict[int, Node] = {}
        self._anchors: dict[str, Any] = {}
        self._patterns = 0
        self._read(schema, path, 1)
        if not self.problems:
            self._connect()

    def _read(self, schema: object, path: str, depth: int) -> Node | None:
        if not isinstance(schema, dict):
            return None
        known = self._by_schema.get(id(schema))
        if known is not None:
            return known
        if depth > MAX_SCHEMA_DEPTH or len(self.nodes) >= MAX_SUBSCHEMAS:
            self._refuse_size(path)
            return None
        node = Node(path, schema)
        self.nodes.append(node)
        self._by_schema[id(schema)] = node
        self._check_keywords(node)
        for keys, inner, move in subschemas(schema):
            child = self._read(inner, join_all(path, keys), depth + 1)
            if child is not None and move != "held":
                node.children.append((child, move))
        return node

    def _refuse_size(self, path: str) -> None:
        if not any(problem.code == "schema.too_large" for problem in self.problems):
            self._add(
                path,
                "schema.too_large",
                f"A schema may have {MAX_SUBSCHEMAS:,} subschemas and {MAX_SCHEMA_DEPTH} levels.",
            )

    def _add(self, path: str, code: str, message: str) -> None:
        self.problems.append(Problem(path, code, message))

    def _check_keywords(self, node: Node) -> None:
        schema = node.schema
        for keyword in ("$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor"):
            if keyword in schema:
                self._add(join(node.path, keyword), "schema.reference", 'Use "$ref" instead.')
        if "$id" in schema and schema is not self.root:
            self._add(join(node.path, "$id"), "schema.reference", 'Only the top can have an "$id".')
        if isinstance(schema.get("$anchor"), str):
            self._anchors[schema["$anchor"]] = schema
        reference = schema.get("$ref")
        if isinstance(reference, str) and not reference.startswith("#"):
            self._add(
                join(node.path, "$ref"),
                "schema.reference",
                f'"{quote(reference)}" lies outside this schema and nothing is fetched: '
                'expected a place inside it, such as "#/$defs/address".',
            )
        self._check_patterns(node)

    def _check_patterns(self, node: Node) -> None:
        own, named = node.schema.get("pattern"), node.schema.get("patternProperties")
        found = [(join(node.path, "pattern"), own)] if isinstance(own, str) else []
        if isinstance(named, dict):
            where = join(node.path, "patternProperties")
            found.extend((join(where, key), key) for key in named)
        for path, pattern in found:
            self._patterns += 1
            if self._patterns > MAX_PATTERNS:
                self._add(path, "schema.pattern", f"At most {MAX_PATTERNS} patterns are allowed.")
                return
            text = pattern_problem(pattern)
            if text is not None:
                self._add(path, "schema.pattern", text)

    def _connect(self) -> None:
        """Resolve references; a place that no keyword leads to becomes a node when it is used."""
        for node in self.nodes:  # grows while it runs
            reference = node.schema.get("$ref")
            if not isinstance(reference, str):
                continue
            target = self._resolve(reference)
            if not isinstance(target, dict | bool):
                self._add(
                    join(node.path, "$ref"),
                    "schema.reference",
                    f'"{quote(reference)}" leads to no schema inside this one.',
                )
                continue
            where = join(join(self.path, "$ref"), reference)
            node.reference = self._read(target, where, 1)

    def _resolve(self, reference: str) -> object:
        fragment = unquote(reference[1:])
        if fragment and not fragment.startswith("/"):
            return self._anchors.get(fragment)
        value: Any = self.root
        for token in fragment.split("/")[1:]:
            key = token.replace("~1", "/").replace("~0", "~")
            if isinstance(value, dict):
                value = value.get(key)
            elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
                value = value[int(key)]
            else:
                return None
        return value


def pattern_problem(pattern: str) -> str | None:
    """What is wrong with a regular expression for the linear-time engine, or None."""
    if len(pattern) > MAX_PATTERN:
        return f"A pattern may have {MAX_PATTERN} characters at most."
    try:
        compile_validator({"pattern": pattern})
    except ValueError:
        return (
            f'"{quote(pattern)}" is no pattern that can be used: it does not parse, is too large, '
            "or needs look-around or back-references, which could hang."
        )
    return None
