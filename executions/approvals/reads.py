"""Approvals as they are shown, by API, console and commands alike; nothing here writes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from autopilot.accounts.actors import Actor
from executions.approvals.people import Line, is_own, lines_of
from executions.approvals.querysets import ApprovalQuerySet
from executions.models import Approval, ApprovalDecision

# Of what is read with approvals, what nobody asks for.
_NOT_SHOWN = (
    "execution__input",
    "execution__variables",
    "execution__output",
    "execution__error",
    "execution__control",
    "execution__version__definition",
    "execution__version__changelog",
)


@dataclass(frozen=True, slots=True)
class ApprovalView:
    """One approval with who is asked, what was said, and whether the reader's word is awaited.

    later: asked as well once it was escalated. is_own: the reader started it, and may not decide.
    """

    approval: Approval
    first: Line
    later: Line
    decisions: tuple[ApprovalDecision, ...]
    may_decide: bool
    is_own: bool

    @property
    def agreed(self) -> int:
        return sum(each.approved for each in self.decisions)

    @property
    def asked(self) -> str:
        """Who may decide now: `anna and group Finance`."""
        approval = self.approval
        if approval.is_open_to_all:
            return "anybody who may decide"
        if approval.escalated_at is None:
            return self.first.words or "nobody who is left"
        both = Line(
            tuple(dict.fromkeys((*self.first.users, *self.later.users))),
            tuple(dict.fromkeys((*self.first.groups, *self.later.groups))),
        )
        return both.words or "nobody who is left"


def with_execution(rows: ApprovalQuerySet) -> ApprovalQuerySet:
    """The rows with what is said of their executions, and without their data."""
    related = ("execution__workflow", "execution__version", "requester", "claimed_by")
    found: ApprovalQuerySet = rows.select_related(*related).defer(*_NOT_SHOWN)
    return found


def views_of(approvals: Sequence[Approval], actor: Actor) -> list[ApprovalView]:
    """The same approvals in the same order; the number of queries does not depend on theirs."""
    lines = lines_of(approvals)
    decisions: dict[int, list[ApprovalDecision]] = defaultdict(list)
    for row in ApprovalDecision.objects.filter(approval__in=lines).order_by("id"):
        decisions[row.approval_id].append(row)
    mine = Approval.objects.filter(pk__in=lines).decidable_by(actor)
    decidable = set(mine.values_list("pk", flat=True))
    return [
        ApprovalView(
            approval=each,
            first=lines[each.pk][0],
            later=lines[each.pk][1],
            decisions=tuple(decisions[each.pk]),
            may_decide=each.pk in decidable,
            is_own=is_own(each, actor),
        )
        for each in approvals
    ]


def view_of(approval: Approval, actor: Actor) -> ApprovalView:
    """One of them."""
    return views_of([approval], actor)[0]
