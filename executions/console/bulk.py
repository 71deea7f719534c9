"""The page that asks something of many: what would be touched, then what came of each."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest, QueryDict
from django.http.response import HttpResponseBase

from autopilot.accounts.actors import Actor, actor_of
from autopilot.common import clock
from autopilot.common.admin_base import Crumb, PageAdmin, found
from autopilot.common.errors import DomainError, Invalid
from autopilot.common.problems import Problem
from executions import bulk
from executions.bulk import Preview, Result, Selection
from executions.bulk_once import Once
from executions.console.lists import FIELDS, Asked
from executions.console.typing import json_typed
from executions.engine.events import Verb
from executions.models import Execution
from executions.rerunning import KEEP, RerunOptions
from workflows.definition.outline import read_outline

# Of what came of each so many are shown, those that were refused first.
SHOWN_RESULTS = 200

TITLES: Mapping[Verb, str] = {
    Verb.PAUSE: "Pause",
    Verb.RESUME: "Resume",
    Verb.CANCEL: "Cancel",
    Verb.RETRY: "Retry",
    Verb.RERUN: "Rerun",
    Verb.SKIP: "Skip step",
    Verb.COMPENSATE: "Undo",
}
_DANGERS = frozenset({Verb.CANCEL, Verb.SKIP, Verb.COMPENSATE})
_CONSEQUENCES: Mapping[Verb, Sequence[str]] = {
    Verb.PAUSE: ("Each stops before its next step; a step that is running now ends first.",),
    Verb.RESUME: ("Each goes on where it stopped, as soon as a worker is free.",),
    Verb.CANCEL: (
        "A step that is running now is interrupted; what it has done outside may stay half done.",
        "They can't be resumed afterwards.",
    ),
    Verb.RETRY: (
        "Each goes on at the step it failed at, with a further attempt.",
        "Steps and items that have succeeded are not repeated.",
    ),
    Verb.RERUN: (
        "For each a new execution is made; the old ones stay as they are.",
        "Everything that the steps from there on do outside is done again.",
    ),
    Verb.SKIP: (
        "The step that each stands at is recorded as skipped, and the execution goes on after it.",
        "Items of such a step that are still under way are cancelled.",
    ),
    Verb.COMPENSATE: (
        "The steps of each that completed are undone, the last one first; then it is failed again.",
        "They can't be retried afterwards, only rerun from the start.",
    ),
}

if TYPE_CHECKING:
    Base = PageAdmin
else:
    Base = object


@dataclass(slots=True)
class Sheet:
    """What was chosen and typed: the verb, the executions, and how."""

    verb: Verb
    ids: list[int]
    asked: Asked
    is_all: bool
    data: QueryDict

    @classmethod
    def of(cls, data: QueryDict) -> Sheet | None:
        """None for an address that names no verb."""
        word = data.get("verb", "")
        if word not in set(Verb):
            return None
        ids = [int(each) for each in data.getlist("id") if each.isdecimal() and len(each) < 19]
        return cls(Verb(word), ids, Asked.of(data), data.get("all") == "1", data)

    def selection(self, actor: Actor) -> Selection:
        """Raises Invalid if nothing says which are meant."""
        if not self.is_all:
            if not self.ids:
                raise Invalid("None was ticked: tick those that are meant, in the list.")
            return Selection.of_ids(self.ids, actor=actor)
        if not self.asked.is_filtered:
            raise Invalid("Ask for less than everything: choose a state, a workflow or a time.")
        rows = self.asked.apply(Execution.objects.visible_to(actor).roots(), clock.now())
        return Selection(rows.filter(state=self.asked.state) if self.asked.state else rows)

    @property
    def kept(self) -> list[tuple[str, str]]:
        """What has to be sent along again."""
        fixed = [("verb", self.verb.value), ("all", "1" if self.is_all else "")]
        filters = [(name, getattr(self.asked, name)) for name in FIELDS]
        ids = [] if self.is_all else [("id", str(pk)) for pk in self.ids]
        return [(name, value) for name, value in [*fixed, *filters, *ids] if value]

    def typed(self, name: str) -> str:
        return str(self.data.get(name, ""))

    @property
    def reason(self) -> str:
        return self.typed("reason")

    @property
    def from_step(self) -> str:
        return self.typed("from_step").strip()

    @property
    def version(self) -> str:
        return self.typed("to_version").strip()

    @property
    def output(self) -> str:
        return self.typed("output")

    @property
    def input(self) -> str:
        return self.typed("input")

    @property
    def outputs(self) -> str:
        return self.typed("outputs")

    @property
    def compensate(self) -> bool:
        return self.verb is Verb.CANCEL and self.typed("compensate") == "1"

    @property
    def key(self) -> str:
        return self.typed("key") or f"console-bulk-{uuid.uuid4()}"

    def arguments(self) -> dict[str, Any]:
        """How it is to be done, for `bulk.apply`. Raises Invalid with the place."""
        if self.verb is Verb.SKIP:
            return {"output": json_typed(self.output, "$.output", "The output")}
        if self.verb is not Verb.RERUN:
            return {"compensate": self.compensate}
        outputs = json_typed(self.outputs, "$.outputs", "The outputs")
        if outputs is not None and not isinstance(outputs, dict):
            message = 'An object was expected, such as {"step_1": {"n": 1}}.'
            raise Invalid(message, details=[Problem("$.outputs", "field.type", message)])
        given = json_typed(self.input, "$.input", "The input") if self.input.strip() else KEEP
        how = RerunOptions(self.from_step or None, given, outputs or {}, self.version or None)
        return {"rerun": how, "once": Once(self.key, [*self.kept, *how.request(), self.reason])}


class BulkPage(Base):
    """The part of the executions' admin that is about many at once."""

    def bulk_page(self, request: HttpRequest) -> HttpResponseBase:
        """What a verb would touch, with what it takes; sent, what came of each."""
        sheet = found(Sheet.of(request.POST or request.GET))
        actor = actor_of(request.user, request)
        seen: Preview | None = None
        refused: DomainError | None = None
        try:
            selection = sheet.selection(actor)
            how = sheet.arguments()
            seen = bulk.preview(
                verb=sheet.verb,
                selection=selection,
                actor=actor,
                compensate=sheet.compensate,
                rerun=how.get("rerun"),
            )
            if request.method == "POST" and "look" not in request.POST:
                batches = bulk.apply(
                    verb=sheet.verb,
                    selection=selection,
                    actor=actor,
                    reason=sheet.reason.strip(),
                    **how,
                )
                return self._results(request, sheet, list(chain.from_iterable(batches)))
        except DomainError as error:
            if error.status in {401, 403}:
                raise
            refused = error
        if seen is None and refused is not None:
            seen = _seen_anyway(sheet, actor)
        return self._question(request, sheet, seen, refused)

    def _question(
        self,
        request: HttpRequest,
        sheet: Sheet,
        seen: Preview | None,
        refused: DomainError | None,
    ) -> HttpResponseBase:
        details = list(refused.details) if refused else []
        if refused and not details:
            details = [Problem("$", refused.code, refused.message)]
        return self.render(
            request,
            "executions/bulk.html",
            status=400 if refused and request.method == "POST" else 200,
            title=f"{TITLES[sheet.verb]} many",
            crumbs=[Crumb("Executions", self._back(sheet))],
            sheet=sheet,
            seen=seen,
            verb_title=TITLES[sheet.verb],
            is_danger=sheet.verb in _DANGERS,
            consequences=_CONSEQUENCES[sheet.verb],
            steps=_steps_of(seen) if sheet.verb is Verb.RERUN else [],
            heading="Nothing was done.",
            problems=[(each, None) for each in details],
            back=self._back(sheet),
        )

    def _results(
        self, request: HttpRequest, sheet: Sheet, results: Sequence[Result]
    ) -> HttpResponseBase:
        counts = Counter(each.outcome for each in results)
        ordered = sorted(results, key=lambda each: each.outcome != "refused")
        return self.render(
            request,
            "executions/bulk_done.html",
            title=f"{TITLES[sheet.verb]} many",
            crumbs=[Crumb("Executions", self._back(sheet))],
            sentence=bulk.outcome_sentence(sheet.verb, counts),
            results=ordered[:SHOWN_RESULTS],
            hidden=len(results) - SHOWN_RESULTS,
            back=self._back(sheet),
        )

    def _back(self, sheet: Sheet) -> str:
        return self.url("changelist") + sheet.asked.query()


def _seen_anyway(sheet: Sheet, actor: Actor) -> Preview | None:
    """What would be touched, although something else is wrong with what was typed."""
    try:
        return bulk.preview(verb=sheet.verb, selection=sheet.selection(actor), actor=actor)
    except DomainError:
        return None


def _steps_of(seen: Preview | None) -> list[str]:
    """Steps to begin at, if the executions are of one workflow as far as can be seen."""
    rows = seen.sample if seen else []
    if len({row.workflow_id for row in rows}) != 1:
        return []
    row = Execution.objects.select_related("version").get(pk=rows[-1].pk)
    return [step.id for step in read_outline(row.version.definition).root.steps]
