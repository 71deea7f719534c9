"""Rows of what is running."""

from executions.models.approval import (
    Approval,
    ApprovalAssignee,
    ApprovalDecision,
    ApprovalMail,
    ApprovalState,
    MailKind,
)
from executions.models.bulk_call import BulkCall
from executions.models.callbacks import Callback
from executions.models.execution import ENDED_VALUES, Execution, Kind, Priority
from executions.models.history import LogLine, StateTransition, StepExecution
from executions.models.inbox import InboxMessage
from executions.models.limits import ActionLimit, Hold, LimitUse
from executions.models.migration import Migration, MigrationItem
from executions.models.signals import Signal, SignalWait
from executions.models.state import DurableValue
from executions.models.undoing import Compensation, ErrorStart
from executions.models.worker import Worker

__all__ = [
    "ENDED_VALUES",
    "ActionLimit",
    "Approval",
    "ApprovalAssignee",
    "ApprovalDecision",
    "ApprovalMail",
    "ApprovalState",
    "BulkCall",
    "Callback",
    "Compensation",
    "DurableValue",
    "ErrorStart",
    "Execution",
    "Hold",
    "InboxMessage",
    "Kind",
    "LimitUse",
    "LogLine",
    "MailKind",
    "Migration",
    "MigrationItem",
    "Priority",
    "Signal",
    "SignalWait",
    "StateTransition",
    "StepExecution",
    "Worker",
]
