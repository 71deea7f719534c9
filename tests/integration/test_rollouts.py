"""Rolling a version out: who may, what changes, what is kept, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django_fsm import can_proceed

from autopilot.accounts.models import AuditEntry
from autopilot.accounts.roles import Role
from autopilot.common.errors import Conflict, DomainError, Invalid, PermissionDenied
from tests.engine import SYSTEM, published
from tests.factories import DraftFactory, actor_with
from tests.rollouts import FAIL, rolling, two_versions
from workflows.models import Rollout, RolloutDecision, Workflow, WorkflowVersion
from workflows.rollouts import (
    RolloutActive,
    RolloutEnded,
    RolloutInvalid,
    RolloutTerms,
    active_rollout,
    promote_rollout,
    rollback_rollout,
    set_percentage,
    start_rollout,
    stop_rollout,
)
from workflows.services import (
    archive_version,
    create_version,
    deprecate_version,
    publish_version,
    resolve_version,
)
from workflows.versioning.rollouts import MOVES, RolloutState

pytestmark = pytest.mark.django_db


def states(workflow: Workflow) -> dict[str, str]:
    return dict(workflow.versions.values_list("version", "state"))


def live(workflow: Workflow) -> tuple[str, str, Any, Any]:
    """The live version by the three ways of asking, and the candidate with its percentage."""
    row = Workflow.objects.with_live_version().get(pk=workflow.pk)
    resolved = resolve_version(workflow=workflow).version
    percent = None if row.candidate_percent is None else float(row.candidate_percent)
    return row.live_version, resolved, row.candidate_version, percent


def test_a_draft_is_published_and_tried_without_becoming_live() -> None:
    workflow, actor = two_versions(), actor_with(Role.DESIGNER, username="dora")
    rollout = start_rollout(
        workflow=workflow, actor=actor, terms=RolloutTerms(percent=12.5), reason="a new tax"
    )
    assert states(workflow) == {"1.0.0": "published", "1.1.0": "published"}
    assert live(workflow) == ("1.0.0", "1.0.0", "1.1.0", 12.5)
    assert (rollout.candidate.version, rollout.baseline.version) == ("1.1.0", "1.0.0")
    assert (rollout.started_by, rollout.reason, rollout.state) == ("dora", "a new tax", "active")
    decision = RolloutDecision.objects.get()
    assert (decision.kind, decision.percent_before, float(decision.percent_after)) == (
        "started",
        None,
        12.5,
    )
    assert (decision.actor, decision.reason) == ("dora", "a new tax")
    kinds = AuditEntry.objects.filter(actor_name="dora").order_by("pk")
    assert list(kinds.values_list("action", flat=True)) == [
        "workflow.published",
        "workflow.rollout_started",
    ]


def test_the_percentage_is_changed_and_the_candidate_promoted() -> None:
    rollout = rolling(10)
    workflow = rollout.workflow
    set_percentage(rollout=rollout, actor=SYSTEM, percent=50, reason="so far so good")
    assert live(workflow) == ("1.0.0", "1.0.0", "1.1.0", 50.0)
    # Said again it changes nothing, and is no decision.
    set_percentage(rollout=rollout, actor=SYSTEM, percent=50)
    promoted = promote_rollout(rollout=rollout, actor=SYSTEM, reason="done")
    assert promoted.state == RolloutState.PROMOTED
    assert promoted.ended_at is not None
    assert live(workflow) == ("1.1.0", "1.1.0", None, None)
    assert states(workflow) == {"1.0.0": "published", "1.1.0": "published"}
    said = [
        (each.kind, each.percent_before and float(each.percent_before), float(each.percent_after))
        for each in RolloutDecision.objects.all()
    ]
    assert said == [("started", None, 10.0), ("percent_set", 10.0, 50.0), ("promoted", 50.0, 100.0)]
    assert active_rollout(workflow) is None


def test_a_candidate_is_taken_back_in_one_call() -> None:
    rollout = rolling(10)
    ended = rollback_rollout(rollout=rollout, actor=SYSTEM, reason="it charges twice")
    assert (ended.state, float(ended.percent)) == ("rolled_back", 0.0)
    assert states(rollout.workflow) == {"1.0.0": "published", "1.1.0": "deprecated"}
    assert live(rollout.workflow) == ("1.0.0", "1.0.0", None, None)
    decision = RolloutDecision.objects.last()
    assert decision is not None
    assert (decision.kind, decision.reason) == ("rolled_back", "it charges twice")
    # The figures of the moment are kept with it.
    assert decision.evidence["candidate"]["ended"] == 0
    assert decision.evidence["finding"] == "too_few"
    entry = AuditEntry.objects.get(action="workflow.deprecated")
    assert entry.after == {"state": "deprecated", "reason": "it charges twice"}


def earlier_and_live() -> Workflow:
    """Versions 1.0.0 and 1.1.0 are published; the higher one is live."""
    workflow = two_versions()
    publish_version(actor=SYSTEM, version=workflow.versions.get(version="1.1.0"))
    return workflow


def test_a_rollout_can_lead_back_to_an_earlier_version() -> None:
    workflow = earlier_and_live()
    rollout = start_rollout(workflow=workflow, actor=SYSTEM, version="1.0.0")
    assert live(workflow) == ("1.1.0", "1.1.0", "1.0.0", 10.0)
    # Taken back, everything is as it was before.
    rollback_rollout(rollout=rollout, actor=SYSTEM)
    assert states(workflow) == {"1.0.0": "published", "1.1.0": "published"}
    assert live(workflow) == ("1.1.0", "1.1.0", None, None)
    promote_rollout(
        rollout=start_rollout(workflow=workflow, actor=SYSTEM, version="1.0.0"), actor=SYSTEM
    )
    assert states(workflow) == {"1.0.0": "published", "1.1.0": "deprecated"}
    assert live(workflow) == ("1.0.0", "1.0.0", None, None)


@pytest.mark.parametrize(
    ("terms", "paths"),
    [
        ({"percent": 101}, ["$.percent"]),
        ({"percent": -1}, ["$.percent"]),
        ({"percent": 0.001}, ["$.percent"]),
        ({"percent": "ten"}, ["$.percent"]),
        ({"percent": True}, ["$.percent"]),
        ({"percent": float("nan")}, ["$.percent"]),
        ({"percent": 10**400}, ["$.percent"]),
        ({"min_executions": 10**400}, ["$.min_executions"]),
        ({"max_failure_percent": 101}, ["$.max_failure_percent"]),
        ({"max_failure_percent": None}, ["$.max_failure_percent"]),
        ({"margin_percent": -1}, ["$.margin_percent"]),
        ({"min_executions": 0}, ["$.min_executions"]),
        ({"min_executions": 1.5}, ["$.min_executions"]),
        ({"window": "soon"}, ["$.window"]),
        ({"window": "8d"}, ["$.window"]),
        ({"window": "10ms"}, ["$.window"]),
        ({"key": "input.customer +"}, ["$.key"]),
        ({"key": "steps.a.output"}, ["$.key"]),
        ({"key": "x" * 5_000}, ["$.key"]),
        ({"key": 7}, ["$.key"]),
        ({"percent": 200, "window": "", "key": "("}, ["$.percent", "$.window", "$.key"]),
    ],
)
def test_what_is_wrong_with_the_terms_is_said_and_nothing_is_published(
    terms: dict[str, Any], paths: list[str]
) -> None:
    workflow = two_versions()
    with pytest.raises(RolloutInvalid) as caught:
        start_rollout(workflow=workflow, actor=SYSTEM, terms=RolloutTerms(**terms))
    assert [each.path for each in caught.value.details] == paths
    assert states(workflow) == {"1.0.0": "published", "1.1.0": "draft"}
    assert not Rollout.objects.exists()


def test_a_key_is_held_to_the_input_schema_as_a_concurrency_key_is() -> None:
    schema = {
        "type": "object",
        "properties": {"customer": {"type": "string"}},
        "additionalProperties": False,
    }
    workflow = two_versions(input_schema=schema)
    with pytest.raises(RolloutInvalid, match="custommer"):
        start_rollout(workflow=workflow, actor=SYSTEM, terms=RolloutTerms(key="input.custommer"))
    start_rollout(workflow=workflow, actor=SYSTEM, terms=RolloutTerms(key="input.customer"))


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        ("1.0.0", "is live already: every start takes it"),
        ("2.0.0", "has no version 2.0.0"),
        ("1.2", "1.2"),
    ],
)
def test_what_is_no_candidate_is_refused(version: str, sentence: str) -> None:
    workflow = two_versions()
    with pytest.raises(DomainError, match=sentence):
        start_rollout(workflow=workflow, actor=SYSTEM, version=version)
    assert not Rollout.objects.exists()


def test_without_a_draft_or_a_live_version_there_is_nothing_to_roll_out() -> None:
    with pytest.raises(Conflict, match="has no draft: name a version"):
        start_rollout(workflow=published([FAIL], slug="one"), actor=SYSTEM)
    draft: WorkflowVersion = DraftFactory.create()
    with pytest.raises(Conflict, match="has no live version that the others could take"):
        start_rollout(workflow=draft.workflow, actor=SYSTEM)
    rollout = rolling()
    rollback_rollout(rollout=rollout, actor=SYSTEM)
    archive_version(actor=SYSTEM, version=rollout.candidate)
    with pytest.raises(Conflict, match="is archived: restore it first"):
        start_rollout(workflow=rollout.workflow, actor=SYSTEM, version="1.1.0")
    assert Rollout.objects.count() == 1


def test_what_was_taken_back_can_be_tried_again() -> None:
    first = rolling()
    workflow = first.workflow
    rollback_rollout(rollout=first, actor=SYSTEM)
    again = start_rollout(workflow=workflow, actor=SYSTEM, version="1.1.0", reason="the bank is up")
    assert live(workflow) == ("1.0.0", "1.0.0", "1.1.0", 10.0)
    rollback_rollout(rollout=again, actor=SYSTEM)
    assert states(workflow) == {"1.0.0": "published", "1.1.0": "deprecated"}
    last = start_rollout(workflow=workflow, actor=SYSTEM, version="1.1.0")
    # Other keys than before: nobody is the first to try each time.
    assert len({first.salt, again.salt, last.salt}) == 3
    promote_rollout(rollout=last, actor=SYSTEM)
    assert live(workflow) == ("1.1.0", "1.1.0", None, None)


def test_the_versions_of_a_rollout_stay_what_they_are_until_it_has_ended() -> None:
    rollout = rolling()
    for version in (rollout.candidate, rollout.baseline):
        with pytest.raises(RolloutActive, match="can't be deprecated while the rollout of 1"):
            deprecate_version(actor=SYSTEM, version=version)
    assert states(rollout.workflow) == {"1.0.0": "published", "1.1.0": "published"}


def test_while_one_is_under_way_nothing_else_is_published_or_rolled_out() -> None:
    rollout = rolling()
    workflow = rollout.workflow
    document = {"name": "Refund", "slug": "refund", "steps": [{"name": "a", **FAIL}]}
    draft = create_version(actor=SYSTEM, workflow=workflow, document=document)
    with pytest.raises(
        RolloutActive, match=r"Version 1\.2\.0 can't be published while the rollout"
    ):
        publish_version(actor=SYSTEM, version=draft)
    with pytest.raises(RolloutActive, match="No other rollout can begin while"):
        start_rollout(workflow=workflow, actor=SYSTEM)
    assert states(workflow)["1.2.0"] == "draft"
    rollout.pk = None
    with pytest.raises(IntegrityError, match="rollout_one_active"), transaction.atomic():
        rollout.save(force_insert=True)
    assert Rollout.objects.count() == 1


def test_of_two_decisions_the_first_one_counts() -> None:
    rollout = rolling(10)
    rollback_rollout(rollout=rollout, actor=SYSTEM)
    for decide in (
        lambda: promote_rollout(rollout=rollout, actor=SYSTEM),
        lambda: rollback_rollout(rollout=rollout, actor=SYSTEM),
        lambda: set_percentage(rollout=rollout, actor=SYSTEM, percent=20),
    ):
        with pytest.raises(RolloutEnded, match="has ended: it was rolled back"):
            decide()
    assert stop_rollout(rollout=rollout, evidence={}, reason="") is None
    assert RolloutDecision.objects.count() == 2
    assert live(rollout.workflow) == ("1.0.0", "1.0.0", None, None)


@pytest.mark.parametrize("role", [None, Role.VIEWER, Role.OPERATOR])
def test_who_may_not_publish_decides_nothing(role: Role | None) -> None:
    rollout, actor = rolling(10), actor_with(role)
    other = two_versions(slug="other")
    for work in (
        lambda: start_rollout(workflow=other, actor=actor),
        lambda: set_percentage(rollout=rollout, actor=actor, percent=20),
        lambda: promote_rollout(rollout=rollout, actor=actor),
        lambda: rollback_rollout(rollout=rollout, actor=actor),
    ):
        with pytest.raises(PermissionDenied):
            work()
    row = Rollout.objects.get()
    assert (row.state, float(row.percent)) == ("active", 10.0)
    assert RolloutDecision.objects.count() == 1


def test_a_reason_has_a_length() -> None:
    rollout = rolling(10)
    with pytest.raises(Invalid, match="at most 200 characters"):
        rollback_rollout(rollout=rollout, actor=SYSTEM, reason="x" * 201)
    assert active_rollout(rollout.workflow) == rollout


def test_the_database_keeps_what_was_decided() -> None:
    rollout = rolling(10)
    for sql in (
        "UPDATE workflows_rolloutdecision SET reason = 'other'",
        "DELETE FROM workflows_rolloutdecision",
        "DELETE FROM workflows_rollout",
        "UPDATE workflows_rollout SET salt = 'other'",
        "UPDATE workflows_rollout SET percent = 101",
    ):
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql)
    row = promote_rollout(rollout=rollout, actor=SYSTEM)
    with (
        pytest.raises(DatabaseError, match="is promoted and stays as it is"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("UPDATE workflows_rollout SET state = 'active', ended_at = NULL")
    verbs = {move.name for move in MOVES}
    assert {verb for verb in verbs if can_proceed(getattr(Rollout(), verb))} == verbs
    assert not any(can_proceed(getattr(row, verb)) for verb in verbs)
