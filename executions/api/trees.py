"""What the API shows of the tree that an execution belongs to."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from executions.api.serializers import STATE_CHOICES
from executions.models import Kind
from executions.trees import Node


class TreeNodeSerializer(serializers.Serializer[Any]):
    """One execution of a tree, where it stands and what it is to the one above it."""

    id = serializers.IntegerField()
    parent: Any = serializers.IntegerField(allow_null=True)
    kind = serializers.ChoiceField(Kind.choices)
    depth = serializers.IntegerField(help_text="How far below the root it is.")
    step = serializers.CharField(help_text="The step of its parent that it belongs to; or empty.")
    item_index = serializers.IntegerField(allow_null=True, help_text="Its place among the items.")
    branch = serializers.CharField(help_text="The name of the branch that it is; or empty.")
    generation = serializers.IntegerField(help_text="The attempt of that step that it is part of.")
    workflow = serializers.CharField()
    version = serializers.CharField()
    state = serializers.ChoiceField(STATE_CHOICES)
    reason = serializers.CharField()
    error_code = serializers.CharField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    has_more = serializers.BooleanField(help_text="It has children that are left out here.")


class TreeSerializer(serializers.Serializer[Any]):
    """Parents before their children, children in the order in which they were made."""

    root: Any = serializers.IntegerField()
    nodes = TreeNodeSerializer(many=True)
    is_cut = serializers.BooleanField(help_text="There are more than are shown.")


def tree_data(root: Node) -> dict[str, Any]:
    """What TreeSerializer shows."""
    nodes = [_node(node, depth) for depth, node in root.walk()]
    return {
        "root": root.execution.pk,
        "nodes": nodes,
        "is_cut": any(node["has_more"] for node in nodes),
    }


def _node(node: Node, depth: int) -> dict[str, Any]:
    row = node.execution
    return {
        "id": row.pk,
        "parent": row.parent_id,
        "kind": row.kind,
        "depth": depth,
        "step": row.parent_step,
        "item_index": row.item_index,
        "branch": node.branch,
        "generation": row.generation,
        "workflow": row.workflow.slug,
        "version": row.version.version,
        "state": row.state,
        "reason": row.reason,
        "error_code": row.error_code,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "has_more": node.has_more,
    }
