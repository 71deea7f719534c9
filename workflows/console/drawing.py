"""A definition as the console's graph draws it: scopes, their steps, and the ways between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workflows.console.outline import read_lines
from workflows.definition.graph import to_graph
from workflows.definition.outline import Outline, Scope, read_outline

MAX_LABEL = 60


def drawing_of(definition: Mapping[str, Any], *, inside: str = "") -> dict[str, Any]:
    """What `static/console/graph.js` draws.

    inside: the id of a scope; then only what runs for that item of a map or that branch. scopes:
    `id` (empty for the outermost), `kind`, `parent` (id of the step that holds it, empty for the
    outermost), of a branch also `name`. nodes: `id`, `name`, `type`, `scope`, `sentence`. edges:
    `source`, `target` (None is the end of the scope), `scope`, `kind`, `label`.
    """
    outline = read_outline(definition)
    scopes = _scopes(outline, inside)
    if not scopes:
        return {"scopes": [], "nodes": [], "edges": []}
    first = scopes[0]
    names = {scope.path: "" if scope is first else scope.id for scope in scopes}
    graph = to_graph(definition)
    sentences = {line.id: line.sentence for line in read_lines(definition)}
    nodes = [node for node in graph["nodes"] if node["scope"] in names]
    scope_of = {node["id"]: names[node["scope"]] for node in nodes}
    return {
        "scopes": [
            {
                "id": names[scope.path],
                "kind": scope.kind,
                "parent": scope.parent.id if scope.parent and scope is not first else "",
                **_branch_name(scope),
            }
            for scope in scopes
        ],
        "nodes": [
            {
                "id": node["id"],
                "name": node["name"],
                "type": node["type"],
                "scope": scope_of[node["id"]],
                "sentence": sentences.get(node["id"], ""),
            }
            for node in nodes
        ],
        "edges": [
            edge | {"scope": scope_of[edge["source"]], "label": _short(edge["label"])}
            for edge in graph["edges"]
            if edge["source"] in scope_of
        ],
    }


def scopes_by_step(drawing: Mapping[str, Any]) -> dict[str, str]:
    """In which scope each step is, by id."""
    return {node["id"]: node["scope"] for node in drawing["nodes"]}


def depths_of(drawing: Mapping[str, Any]) -> dict[str, int]:
    """In how many steps each step is, by id."""
    holder = {scope["id"]: scope["parent"] for scope in drawing["scopes"]}
    scope_of = scopes_by_step(drawing)

    def depth(scope: str) -> int:
        parent = holder.get(scope, "")
        return 1 + depth(scope_of[parent]) if parent else 0

    return {step: depth(scope) for step, scope in scope_of.items()}


def _scopes(outline: Outline, inside: str) -> list[Scope]:
    """The scopes to draw, the outermost first."""
    if not inside:
        return outline.scopes
    found: list[Scope] = []
    pending = [scope for scope in outline.scopes if scope.id == inside][:1]
    while pending:
        scope = pending.pop(0)
        found.append(scope)
        pending.extend(inner for step in scope.steps for inner in step.scopes)
    return found


def _branch_name(scope: Scope) -> dict[str, str]:
    """What a branch is called; nothing for any other scope."""
    if scope.kind != "branch" or scope.parent is None:
        return {}
    branch = scope.parent.config["branches"][scope.parent.scopes.index(scope)]
    return {"name": _short(str(branch.get("name", "")))}


def _short(label: str) -> str:
    text = " ".join(label.split())
    return text if len(text) <= MAX_LABEL else f"{text[: MAX_LABEL - 1]}…"
