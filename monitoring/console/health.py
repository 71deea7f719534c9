"""The page of health: is anything wrong, and what is to be done about it?"""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import URLPattern

from autopilot.accounts.actors import actor_of
from autopilot.accounts.roles import Permission
from autopilot.common.admin_base import Crumb, PageAdmin
from autopilot.common.words import plural
from executions.recovering import find_stuck, recover_executions
from monitoring.checks.base import Level
from monitoring.checks.everything import Report, check_everything
from monitoring.models import Monitoring

# The colour of a level, by the state that has it.
COLOURS = {Level.OK: "completed", Level.WARNING: "waiting", Level.PROBLEM: "failed"}
SHOWN_STUCK = 50


@admin.register(Monitoring)
class HealthAdmin(PageAdmin):
    """What `manage.py check_health` says, and what recovery would do."""

    permission = Permission.MONITORING_VIEW

    def pages(self) -> Sequence[URLPattern]:
        may_free = (Permission.EXECUTION_VIEW, Permission.EXECUTION_CONTROL)
        return [
            self.page("", "changelist", self.health_page),
            self.page("recovery/", "recovery", self.recovery_page, permission=may_free),
        ]

    def health_page(self, request: HttpRequest) -> HttpResponseBase:
        """The worst first, then what is well."""
        report = check_everything()
        return self.render(
            request,
            "monitoring/health.html",
            title="Health",
            report=report,
            headline=_headline(report),
            troubles=[
                (COLOURS[level], each)
                for level in (Level.PROBLEM, Level.WARNING)
                for each in report.of(level)
            ],
            well=report.of(Level.OK),
            may_free=request.user.has_perms(
                (Permission.EXECUTION_VIEW, Permission.EXECUTION_CONTROL)
            ),
        )

    def recovery_page(self, request: HttpRequest) -> HttpResponseBase:
        """What is stuck and what would be done about it; does it on POST."""
        actor = actor_of(request.user, request)
        if request.method == "POST":
            freed = [one for one in recover_executions(actor=actor) if one.freed]
            count = len({one.execution_id for one in freed})
            said = f"{plural(count, 'execution')} went on." if count else "Nothing was to be freed."
            messages.success(request, said)
            return HttpResponseRedirect(self.url("recovery"))
        found = find_stuck(actor=actor)
        return self.render(
            request,
            "monitoring/recovery.html",
            title="Recovery",
            crumbs=[Crumb("Health", self.url("changelist"))],
            found=found[:SHOWN_STUCK],
            count=len(found),
            has_remedy=any(one.remedy for one in found),
        )


def _headline(report: Report) -> str:
    problems, warnings = (len(report.of(level)) for level in (Level.PROBLEM, Level.WARNING))
    if problems:
        more = f", and {plural(warnings, 'warning')}" if warnings else ""
        return f"{plural(problems, 'problem')}{more}"
    return plural(warnings, "warning") if warnings else "All is well"
