"""What an execution waits for that waits for people, in words: whose word, since when, until when.

Loaded by `executions.apps`, which is where its lines get into the registries of `why_waits` and
`situations`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from executions import situations
from executions.approvals.people import Line, lines_of
from executions.engine.states import Reason
from executions.models import Approval, ApprovalDecision, Execution
from executions.phrases import Ago, Strong, say
from executions.why_facts import Facts, Why, iso
from executions.why_waits import OUTSIDE


def read(executions: Sequence[Execution]) -> dict[int, Mapping[str, Any]]:
    """The open approvals of these executions, by the execution's id."""
    rows = Approval.objects.open().filter(execution__in=executions).select_related("claimed_by")
    approvals = {each.pk: each for each in rows.defer("context", "form", "description")}
    lines = lines_of(list(approvals.values()))
    agreed: Counter[int] = Counter(
        ApprovalDecision.objects.filter(approval__in=approvals).values_list(
            "approval_id", flat=True
        )
    )
    return {
        each.execution_id: {
            "approval": each,
            "lines": lines[each.pk],
            "agreed": agreed[each.pk],
        }
        for each in approvals.values()
    }


def sentence(facts: Facts) -> Why:
    """`Waits at step Ask for 1 of 2 approvals from group Finance, asked 5 min ago, due in 2 h.`"""
    if not facts.outside:
        # Decided between two reads; whoever goes on with it has not come round yet.
        phrase = say("Waits at step {step} for an approval.", step=facts.place)
        return Why("approval", phrase, {"step": facts.step})
    approval: Approval = facts.outside["approval"]
    agreed: int = facts.outside["agreed"]
    whom = _asked(approval, facts.outside["lines"])
    left = approval.quorum - agreed
    what = "an approval" if approval.quorum == 1 else f"{left} of {approval.quorum} approvals"
    phrase = say(
        "Waits at step {step} for {what} from {whom}, asked {since}{due}.{taken}",
        step=facts.place,
        what=what,
        whom=whom.words
        if whom
        else "anybody who may decide"
        if approval.is_open_to_all
        else "nobody who is left",
        since=Ago(approval.opened_at),
        due=say(", due {when}", when=Ago(approval.expires_at)) if approval.expires_at else "",
        taken=say(" {who} has taken it.", who=Strong(str(approval.claimed_by)))
        if approval.claimed_by_id
        else "",
    )
    details = {
        "step": facts.step,
        "approval": approval.pk,
        "quorum": approval.quorum,
        "approved": agreed,
        "users": list(whom.users),
        "groups": list(whom.groups),
        "since": iso(approval.opened_at),
        "until": iso(approval.expires_at),
    }
    return Why("approval", phrase, details)


def _asked(approval: Approval, lines: tuple[Line, Line]) -> Line:
    """Everybody who may decide now."""
    first, later = lines
    if approval.escalated_at is None:
        return first
    return Line(
        tuple(dict.fromkeys((*first.users, *later.users))),
        tuple(dict.fromkeys((*first.groups, *later.groups))),
    )


situations.OUTSIDE[Reason.APPROVAL.value] = read
OUTSIDE[Reason.APPROVAL.value] = sentence
