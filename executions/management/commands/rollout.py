"""`manage.py rollout`: begin, look at and end rollouts, from a terminal."""

from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import Error

from autopilot.common.errors import DomainError
from executions.management.operator import not_ready, operator
from executions.rollouts import figures_of, live_executions, preview_rollback
from workflows import rollouts
from workflows.models import Rollout, Workflow
from workflows.rollout_terms import RolloutTerms
from workflows.rollout_words import decision_words, route_words, verdict

DONE, REFUSED, USAGE = 0, 1, 2


class Command(BaseCommand):
    help = (
        "Give a percentage of a workflow's starts to another version, change that, make the "
        "version live, or take it back. Exit code: 0 done, 1 refused, 2 wrong use."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")
        starting = tasks.add_parser("start", help="Begin: some take it, all others the live one.")
        setting = tasks.add_parser("set", help="Change the percentage.")
        promoting = tasks.add_parser("promote", help="Every start takes it from now on.")
        taking_back = tasks.add_parser("rollback", help="Every start takes the live one again.")
        showing = tasks.add_parser("show", help="How the latest one is doing, what was decided.")
        for each in (starting, setting, promoting, taking_back, showing):
            each.add_argument("workflow", metavar="SLUG")
        for each in (starting, setting, promoting, taking_back):
            each.add_argument("--reason", default="", help="Kept with the decision.")
        setting.add_argument("percent", type=float)
        showing.add_argument("--json", action="store_true", help="The figures as JSON.")
        self._add_terms(starting)

    def _add_terms(self, parser: CommandParser) -> None:
        terms = RolloutTerms()
        parser.add_argument("--to", metavar="VERSION", help="Default: the draft, published now.")
        parser.add_argument("--percent", type=float, default=terms.percent)
        parser.add_argument("--key", default="", help="An expression over `input`.")
        parser.add_argument("--max-failure-percent", type=float, default=terms.max_failure_percent)
        parser.add_argument("--window", default=terms.window, metavar="15m")
        parser.add_argument("--min-executions", type=int, default=terms.min_executions)
        parser.add_argument(
            "--margin-percent",
            type=float,
            help="Stop it only if it fails so many points more than the live version.",
        )
        parser.add_argument("--override-reason", default="", help="For a number that is too small.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._run(options)
        except DomainError as error:
            self.stderr.write(error.message)
            for problem in error.details:
                if problem.message not in error.message:
                    self.stderr.write(f"  {problem.path}: {problem.message}")
            sys.exit(REFUSED)
        except Error as error:
            self.stderr.write(not_ready(error))
            sys.exit(REFUSED)

    def _run(self, options: dict[str, Any]) -> None:
        workflow = self._workflow(options["workflow"])
        if options["task"] == "show":
            self._show(workflow, as_json=options["json"])
            return
        actor = operator()
        given = {"actor": actor, "reason": options["reason"]}
        if options["task"] == "start":
            begun = self._start(workflow, options, given)
            self.stdout.write(route_words(begun))
            return
        rollout = self._active(workflow)
        if options["task"] == "set":
            changed = rollouts.set_percentage(rollout=rollout, percent=options["percent"], **given)
            self.stdout.write(route_words(changed))
        elif options["task"] == "promote":
            rollouts.promote_rollout(rollout=rollout, **given)
            self.stdout.write(f"Every start takes {rollout.candidate.version}.")
        else:
            rollouts.rollback_rollout(rollout=rollout, **given)
            self.stdout.write(preview_rollback(rollout).sentence)

    def _start(self, workflow: Workflow, options: dict[str, Any], given: dict[str, Any]) -> Rollout:
        names = ("percent", "key", "max_failure_percent", "window", "min_executions")
        terms = {name: options[name] for name in (*names, "margin_percent")}
        publishing = {}
        if options["override_reason"]:
            publishing["override_reason"] = options["override_reason"]
        return rollouts.start_rollout(
            workflow=workflow,
            version=options["to"],
            terms=RolloutTerms(**terms),
            **given,
            **publishing,
        )

    def _show(self, workflow: Workflow, *, as_json: bool) -> None:
        rows = Rollout.objects.filter(workflow=workflow).order_by("-pk")
        rollout = rows.select_related("workflow", "candidate", "baseline").first()
        if rollout is None:
            self.stdout.write(f"Nothing of the workflow {workflow.slug} was rolled out yet.")
            return
        figures = figures_of(rollout)
        if as_json:
            shown = {"state": rollout.state, "candidate": rollout.candidate.version}
            self.stdout.write(json.dumps({**shown, "evidence": figures}, indent=2))
            return
        if rollout.is_active:
            self.stdout.write(route_words(rollout))
        else:
            ended = rollout.state.replace("_", " ")
            self.stdout.write(f"The rollout of {rollout.candidate.version} was {ended}.")
        if figures:
            self.stdout.write(verdict(rollout, figures))
        live = live_executions(rollout.candidate)
        more = "+" if live.is_capped else ""
        self.stdout.write(f"Not ended on {rollout.candidate.version}: {live.count:,}{more}.")
        for each in rollout.decisions.all():
            because = f": {each.reason}" if each.reason else ""
            self.stdout.write(
                f"  {each.at:%Y-%m-%d %H:%M:%S} {decision_words(each)}, by {each.actor}{because}"
            )

    def _active(self, workflow: Workflow) -> Rollout:
        rollout = rollouts.active_rollout(workflow)
        if rollout is None:
            self.stderr.write(f"No rollout of the workflow {workflow.slug} is under way.")
            sys.exit(REFUSED)
        return rollout

    def _workflow(self, slug: str) -> Workflow:
        found: Workflow | None = Workflow.objects.filter(slug=slug).first()
        if found is None:
            self.stderr.write(f"There is no workflow {slug!r:.80}.")
            sys.exit(USAGE)
        return found
