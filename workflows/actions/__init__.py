"""What an app needs to write actions: the decorator, the context, `Pending`, the two errors."""

from workflows.actions.base import ActionError, TerminalActionError
from workflows.actions.context import Context
from workflows.actions.pending import Pending
from workflows.actions.registry import action

__all__ = ["ActionError", "Context", "Pending", "TerminalActionError", "action"]
