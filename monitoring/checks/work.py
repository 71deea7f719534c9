"""Executions that somebody should look at, and what could not be delivered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.db import OperationalError
from django.db.models import Min
from django.db.models.functions import Now
from psycopg2.errors import QueryCanceled

from autopilot.accounts.actors import Actor
from autopilot.common.database_time import database_now
from autopilot.common.words import count_words, duration_words, plural
from executions.models import ApprovalMail, ErrorStart, Execution
from executions.recovering import KINDS, Stuck, find_stuck
from executions.runtime.drain import SUSPECT_AFTER_CLAIMS
from monitoring.checks.base import Check, bounded, ok, warning

MANY = 1_000
# For each way to be stuck.
QUESTION_SECONDS = 1.0
TIMER_LATE_SECONDS = 60
MAIL_LATE_SECONDS = 300
DAY = timedelta(hours=24)
READER = Actor.system("health")


def stuck(cursor: Any) -> Iterator[Check]:
    """What the engine's own ways have not seen to; recovery knows them all.

    What is only not taken is told by queues: of a backlog every execution would be named. With
    hundreds of thousands that wait some of its questions take longer than a check may; whoever
    wants to know asks `recover_executions`.
    """
    found: list[Stuck] = []
    unknown: list[str] = []
    for code in (kind.code for kind in KINDS if kind.code != "not_taken"):
        try:
            with bounded(QUESTION_SECONDS):
                found += find_stuck(actor=READER, codes=[code])
        except OperationalError as error:
            if not isinstance(error.__cause__, QueryCanceled):
                raise
            unknown.append(code)
    counts = Counter(one.code for one in found)
    if not found:
        far = f", as far as was looked (not for {', '.join(unknown)})" if unknown else ""
        yield ok("executions.stuck", f"No execution is stuck{far}.", not_looked_for=unknown)
        return
    told = ", ".join(f"{code} {count}" for code, count in sorted(counts.items()))
    first = found[0]
    yield warning(
        "executions.stuck",
        f"{plural(len({one.execution_id for one in found}), 'execution')} stuck ({told}), such as "
        f"{first.execution_id}: {first.sentence}",
        "If this stays for more than some seconds: manage.py recover_executions says what it is "
        "about each, and with --free it lets them go on.",
        counts=dict(counts),
        not_looked_for=unknown,
        ids=sorted({one.execution_id for one in found})[:20],
    )


def suspects(cursor: Any) -> Iterator[Check]:
    ready = Execution.objects.filter(owner__isnull=True, runnable_at__isnull=False)
    owned = Execution.objects.filter(owner__isnull=False)
    ids = [
        pk
        for rows in (ready, owned)
        for pk in rows.filter(claims__gte=SUSPECT_AFTER_CLAIMS)
        .order_by()
        .values_list("pk", flat=True)[: MANY + 1]
    ]
    name = "executions.suspects"
    if not ids:
        yield ok(name, "No execution is suspected of killing its workers.")
        return
    count = count_words(len(ids), MANY)
    yield warning(
        name,
        f"{count} {'was' if len(ids) == 1 else 'were'} claimed {SUSPECT_AFTER_CLAIMS} times and "
        f"more without getting anywhere, such as {ids[0]}: they run alone, and fail in the end.",
        "See what they do (manage.py executions show ID) and why workers died: logs, memory.",
        ids=ids[:20],
    )


def timers(cursor: Any) -> Iterator[Check]:
    now = database_now()
    late = Execution.objects.filter(
        owner__isnull=True,
        state="waiting",
        runnable_at__lt=now - timedelta(seconds=TIMER_LATE_SECONDS),
    ).order_by()
    count = late.values("pk")[: MANY + 1].count()
    if not count:
        yield ok("executions.timers", "No timer is overdue.")
        return
    oldest = late.aggregate(first=Min("runnable_at"))["first"] or now
    yield warning(
        "executions.timers",
        f"{count_words(count, MANY)} that wait should have gone on, the oldest "
        f"{duration_words(now - oldest)} ago.",
        "See the checks of the queues and the clock.",
        count=count,
    )


def owed_starts(cursor: Any) -> Iterator[Check]:
    late = ErrorStart.objects.filter(
        status=ErrorStart.Status.OWED, created_at__lt=Now() - timedelta(seconds=60)
    )
    count = late.values("pk")[: MANY + 1].count()
    if count:
        yield warning(
            "executions.owed_starts",
            f"{count_words(count, MANY)} error workflows have not been started for a minute.",
            "See the check of the clock, which starts them.",
            count=count,
        )
    else:
        yield ok("executions.owed_starts", "No failure owes a start for long.")


def dead_letters(cursor: Any) -> Iterator[Check]:
    """What was given up in the last 24 hours."""
    refused = ErrorStart.objects.filter(
        status=ErrorStart.Status.REFUSED, settled_at__gt=Now() - DAY
    )
    latest = refused.order_by("-pk").first()
    if latest is not None:
        count = refused.values("pk")[: MANY + 1].count()
        yield warning(
            "dead_letters.error_workflows",
            f"{count_words(count, MANY)} error workflows could not be started in 24 hours; the "
            f"last, {latest.workflow_slug} for execution {latest.execution_id}: {latest.problem}",
            "Publish the workflow that on_failure names, or correct the document.",
            count=count,
        )
    failed = ApprovalMail.objects.filter(taken_at__gt=Now() - DAY).exclude(
        failure__in=["", "settled before it was sent"]
    )
    last = failed.order_by("-pk").first()
    if last is not None:
        count = failed.values("pk")[: MANY + 1].count()
        yield warning(
            "dead_letters.mails",
            f"{count_words(count, MANY)} mails about approvals were refused in 24 hours; the last: "
            f"{last.failure}",
            "Look at the mail server's log. The approvals are in people's inboxes all the same.",
            count=count,
        )
    if latest is None and last is None:
        yield ok("dead_letters", "Nothing was given up in the last 24 hours.")


def mails(cursor: Any) -> Iterator[Check]:
    late = ApprovalMail.objects.filter(
        taken_at__isnull=True, due_at__lt=Now() - timedelta(seconds=MAIL_LATE_SECONDS)
    )
    count = late.values("pk")[: MANY + 1].count()
    if count:
        yield warning(
            "mail.waiting",
            f"{count_words(count, MANY)} mails about approvals have waited for more than five "
            "minutes.",
            "Check EMAIL_HOST and the mail server; it is tried again every minute, and nothing is "
            "lost. The log of the clock's leader has approvals.mail_server_unreachable.",
            count=count,
        )
    else:
        yield ok("mail.waiting", "No mail about an approval waits.")


LOOKS = (stuck, suspects, timers, owed_starts, mails, dead_letters)
