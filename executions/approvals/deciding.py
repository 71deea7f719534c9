"""Deciding an approval: what may be said, by whom, until when, and what follows from it."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

from django.conf import settings
from django.db import transaction

from autopilot.accounts import audit, security
from autopilot.accounts.actors import Actor
from autopilot.accounts.roles import Permission
from autopilot.common.crypto import Undecipherable
from autopilot.common.database_time import database_now
from autopilot.common.errors import DomainError
from autopilot.common.problems import Problem
from autopilot.common.storable import is_storable
from autopilot.common.words import ago_words
from executions.approvals.errors import (
    AnswerInvalid,
    ApprovalExpired,
    ApprovalNotFound,
    ApprovalSettled,
    DecidedAlready,
    NotAsked,
    OwnRequest,
)
from executions.approvals.people import is_assignee, is_own, lines_of
from executions.approvals.querysets import principal_of
from executions.engine.errors import EngineError
from executions.engine.events import DECISION
from executions.engine.payload import encode
from executions.hidden.marks import holds_hidden, reveal
from executions.hidden.veil import Veil
from executions.models import (
    Approval,
    ApprovalDecision,
    ApprovalState,
    Execution,
    Kind,
)
from executions.posting import post
from executions.tokens import Place
from workflows.compiled import compiled_version
from workflows.definition import redaction as hidden
from workflows.definition.schemas import PayloadSchema

MAX_COMMENT_CHARS = 4_000
_DATA = ("input", "variables", "output", "error", "control")


class Decided(NamedTuple):
    """A decision and the approval after it; `created` is False if it had been made before."""

    approval: Approval
    decision: ApprovalDecision
    created: bool


def decide(
    *,
    approval: Approval,
    actor: Actor,
    approve: bool,
    answer: Any = None,
    comment: str = "",
    via: str = "python",
    typed_by: str = "",
) -> Decided:
    """Approve or reject on behalf of `actor`, who has one decision and can't change it.

    answer: what the form asks for; a rejection may leave it out. comment: kept with the decision.
    via: the way it came. typed_by: who typed it in for the actor, for the audit trail.
    The same again answers the first decision. One rejection settles the approval, and so does the
    last of as many agreements as it needs; the execution goes on after the caller's commit.
    Raises NotAsked and OwnRequest, ApprovalSettled, ApprovalExpired (by the database's clock),
    DecidedAlready, AnswerInvalid with the JSON path of everything that does not fit.
    """
    with transaction.atomic():
        row = lock(approval.pk)
        answer = _checked(row, approve, answer, comment)
        said = _hidden(row, answer, comment)
        earlier = row.decisions.filter(principal=principal_of(actor)).first()
        if earlier is not None:
            return Decided(row, _same(earlier, approve, answer, said.comment), created=False)
        now = database_now()
        check_decidable(row, actor, now)
        decision = _keep(row, actor, approve, said, via, now)
        _settle(row, decision, said, now)
        after = {"state": row.state, "comment": str(said.comment), "via": via}
        audit.record(
            actor=actor,
            action="approval.approved" if approve else "approval.rejected",
            target=row,
            before={"state": ApprovalState.OPEN.value},
            after={**after, "typed_by": typed_by} if typed_by else after,
        )
    return Decided(row, decision, created=True)


class _Said(NamedTuple):
    """Answer and comment as they are kept.

    Hidden is what the definition hides of them (`redact`), and what of them is hidden elsewhere.
    """

    answer: Any
    comment: str


def _hidden(approval: Approval, answer: Any, comment: str) -> _Said:
    """Raises NoEncryptionKey."""
    redaction = compiled_version(approval.execution.version_id).redaction
    place = redaction.steps.get(approval.step_id)
    veil = Veil(redaction)
    _learn(veil, approval)

    def at(name: str) -> hidden.Place | None:
        return place if place is None or place.is_here else place.below.get(name)

    return _Said(veil.conceal(answer, at("answer")), veil.conceal(comment, at("comment")))


def _keep(
    approval: Approval, actor: Actor, approve: bool, said: _Said, via: str, now: datetime
) -> ApprovalDecision:
    return ApprovalDecision.objects.create(
        approval=approval,
        principal=principal_of(actor),
        person_id=actor.id,
        by=actor.name[:200],
        approved=approve,
        comment=said.comment,
        answer=said.answer,
        via=via,
        at=now,
    )


def _learn(veil: Veil, approval: Approval) -> None:
    """What is hidden of the question and of the data it was made from; somebody may repeat it."""
    values = [approval.context]
    above: int | None = approval.execution_id
    while above is not None:
        row = Execution.objects.values_list("input", "variables", "kind", "parent_id").get(pk=above)
        values += row[:2]
        above = row[3] if row[2] in (Kind.ITEM, Kind.BRANCH) else None
    with suppress(Undecipherable):
        for value in values:
            if holds_hidden(value):
                veil.reveal(value)


def lock(pk: int) -> Approval:
    """The approval under its lock, after that of its execution: as the ledger takes them.

    Raises ApprovalNotFound.
    """
    found = Approval.objects.filter(pk=pk).values_list("execution_id", flat=True).first()
    if found is None:
        raise ApprovalNotFound
    rows = Execution.objects.select_for_update(no_key=True).defer(*_DATA)
    execution = rows.get(pk=found)
    approval: Approval = Approval.objects.select_for_update(no_key=True).get(pk=pk)
    approval.execution = execution
    return approval


def check_open(approval: Approval, now: datetime) -> None:
    """Raises ApprovalSettled or ApprovalExpired where nothing can be decided any more."""
    if not approval.is_open:
        raise ApprovalSettled(_settled_words(approval, now))
    if approval.expires_at is not None and approval.expires_at <= now:
        when = ago_words(approval.expires_at, now)
        raise ApprovalExpired(f"The time for a decision was over {when}.")


def check_decidable(approval: Approval, actor: Actor, now: datetime) -> None:
    """Raises what keeps this actor from deciding at this moment; keeps it as a security event."""
    refusal = refusal_of(approval, actor, now)
    if isinstance(refusal, (NotAsked, OwnRequest)):
        _note_denied(actor)
    if refusal is not None:
        raise refusal


def refusal_of(approval: Approval, actor: Actor, now: datetime) -> DomainError | None:
    """What keeps this actor from deciding at this moment; for whoever only looks."""
    if not is_assignee(approval, actor):
        return NotAsked(_not_asked_words(approval, actor))
    if is_own(approval, actor):
        return OwnRequest()
    try:
        check_open(approval, now)
    except DomainError as error:
        return error
    return None


def _note_denied(actor: Actor) -> None:
    security.note_denied(
        user_id=actor.id,
        name=actor.name,
        permission=Permission.APPROVAL_DECIDE,
        address=actor.address,
        request_id=actor.request_id,
    )


def _not_asked_words(approval: Approval, actor: Actor) -> str:
    if approval.is_open_to_all:
        return f"{actor.name} does not have the permission {Permission.APPROVAL_DECIDE}."
    first, later = lines_of([approval])[approval.pk]
    asked = first.words or "nobody who is left"
    if later and approval.escalated_at is None:
        return f"It asks {asked}, and later {later.words}; not {actor.name}."
    return f"It asks {' and '.join(filter(None, [first.words, later.words]))}; not {actor.name}."


def _settled_words(approval: Approval, now: datetime) -> str:
    when = ago_words(approval.settled_at, now) if approval.settled_at else ""
    if approval.state == ApprovalState.WITHDRAWN:
        return f"The question was withdrawn {when}: the execution does not wait for it any more."
    last = approval.decisions.order_by("-id").first()
    by = f" by {last.by}" if last is not None and approval.state != ApprovalState.EXPIRED else ""
    return f"The approval was settled {when}: it is {approval.state}{by}."


def _same(earlier: ApprovalDecision, approve: bool, answer: Any, comment: str) -> ApprovalDecision:
    if (earlier.approved, reveal(earlier.answer), earlier.comment) == (approve, answer, comment):
        return earlier
    word = "approved" if earlier.approved else "rejected"
    raise DecidedAlready(f"You have {word} this already; a decision can't be changed.")


def _checked(approval: Approval, approve: bool, answer: Any, comment: str) -> Any:
    """The answer as it is kept. Raises AnswerInvalid."""
    problems: list[Problem] = []
    if not is_storable(comment, MAX_COMMENT_CHARS):
        message = f"A text of at most {MAX_COMMENT_CHARS} characters was expected."
        problems.append(Problem("$.comment", "invalid", message))
    try:
        encode(answer, limit=settings.AUTOPILOT["MAX_OUTPUT_BYTES"] // 4, what="The answer")
    except EngineError as error:
        problems.append(Problem("$.answer", error.info.code, error.info.message))
    else:
        if approval.form is not None and (approve or answer is not None):
            # Fields that nobody has to fill in may be left out together.
            answer = {} if answer is None else answer
            problems += PayloadSchema(approval.form).problems(answer, root="$.answer")
    if problems:
        raise AnswerInvalid(f"{problems[0].path}: {problems[0].message}", details=problems)
    return answer


def _settle(approval: Approval, decision: ApprovalDecision, own: _Said, now: datetime) -> None:
    """Tell the execution if that was enough."""
    decisions = list(approval.decisions.order_by("id"))
    agreed = sum(each.approved for each in decisions)
    if decision.approved and agreed < approval.quorum:
        return
    state = ApprovalState.APPROVED if decision.approved else ApprovalState.REJECTED
    approval.state, approval.settled_at = state, now
    approval.save(update_fields=["state", "settled_at"])
    said = [
        {
            "by": each.by,
            "at": each.at.isoformat(),
            "approved": each.approved,
            "comment": own.comment if each.pk == decision.pk else each.comment,
            "answer": each.answer,
        }
        for each in decisions
    ]
    data = {
        "approved": decision.approved,
        "decisions": said,
        "answer": own.answer,
        "comment": own.comment,
        "missing": approval.missing,
    }
    place = Place(approval.execution_id, approval.seq, approval.attempt)
    post(approval.execution, place, data, kind=DECISION, actor=decision.by, now=now)
