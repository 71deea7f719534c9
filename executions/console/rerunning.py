"""The page that runs an ended execution again: from where, on what, and what will come of it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.db.models import TextField
from django.db.models.functions import Cast, Length
from django.http import HttpRequest, HttpResponseRedirect, QueryDict
from django.http.response import HttpResponseBase

from autopilot.accounts.actors import actor_of
from autopilot.common.admin_base import PageAdmin
from autopilot.common.errors import DomainError, Invalid
from autopilot.common.json_html import pretty
from autopilot.common.problems import Problem
from executions.console.sentences import describe
from executions.console.starting import with_lines
from executions.console.typing import Typing, json_typed, same_json
from executions.console.verbs import RERUN
from executions.hidden.marks import holds_hidden
from executions.models import Execution, StepExecution
from executions.rerun_plan import Ran, Rerun
from executions.rerunning import KEEP
from executions.services import rerun_execution
from workflows.models import WorkflowVersion

MAX_VERSIONS = 50
# Outputs that are offered to be edited: of so many steps, the latest, and no longer than this.
MAX_EDITED = 50
MAX_EDITED_CHARS = 20_000

if TYPE_CHECKING:
    Base = PageAdmin
else:
    Base = object


@dataclass(slots=True)
class Edited:
    """The output of a step that is taken over, and what was typed in its place.

    is_shown: False if it is too long to be edited on a page.
    """

    step: Ran
    output: Any
    is_shown: bool
    text: str = ""
    error: str = ""

    @property
    def name(self) -> str:
        return f"output-{self.step.step_id}"


class RerunPage(Base):
    """The rerunning part of the executions' admin."""

    def rerun_page(self, request: HttpRequest, *, pk: int) -> HttpResponseBase:
        """A form with everything that a rerun takes, and what it will do; then the new one."""
        source = self._execution(request, pk)
        back = self.url("change", pk)
        versions = list(source.workflow.versions.startable().highest_first()[:MAX_VERSIONS])
        obstacle = _obstacle(source, versions)
        if obstacle:
            messages.error(request, obstacle)
            return HttpResponseRedirect(back)
        sheet = Sheet(source, versions, request.POST or request.GET, is_sent=bool(request.POST))
        refused: DomainError | None = None
        if request.method == "POST" and "to" in request.POST:
            refused = sheet.typing.change(request.POST["to"])
        elif request.method == "POST" and sheet.is_decided:
            try:
                again = rerun_execution(
                    execution=source,
                    actor=actor_of(request.user, request),
                    reason=sheet.reason.strip(),
                    idempotency_key=sheet.key,
                    **sheet.arguments(),
                )
            except DomainError as error:
                if error.status in {401, 403}:
                    raise
                refused = error
            else:
                if not again.created:
                    messages.info(request, "This form had rerun it already: here it is.")
                return HttpResponseRedirect(self.url("change", again.execution.pk))
        return self._sheet(request, sheet, refused, back)

    def _sheet(
        self, request: HttpRequest, sheet: Sheet, refused: DomainError | None, back: str
    ) -> HttpResponseBase:
        details = list(refused.details) if refused else []
        if refused and not details:
            details = [Problem("$", refused.code, refused.message)]
        others = sheet.show_problems(details)
        return self.render(
            request,
            "executions/rerun.html",
            status=400 if details else 200,
            title="Rerun",
            crumbs=[*self._way_to(sheet.source), self._crumb(sheet.source)],
            execution=sheet.source,
            sheet=sheet,
            typing=sheet.typing,
            sentence=describe(sheet.source),
            heading="It stays as JSON." if "to" in request.POST else "Nothing was rerun.",
            problems=with_lines(sheet.typing.text, others),
            input_is_wrong=any(each.path.startswith("$.input") for each in details),
            back=back,
        )


class Sheet:
    """What is asked for so far: as the page begins, or as it was sent."""

    def __init__(
        self,
        source: Execution,
        versions: Sequence[WorkflowVersion],
        data: QueryDict,
        *,
        is_sent: bool,
    ) -> None:
        self.source = source
        self.versions = [(row.version, row.version) for row in versions]
        by_number = {row.version: row for row in versions}
        fallback = by_number.get(source.version.version) or versions[0]
        self.version = by_number.get(data.get("version", "")) or fallback
        self._rerun = Rerun(source, self.version.definition)
        self.choices = self._rerun.choices()
        open_ones = {each.step.step_id for each in self.choices if not each.obstacle}
        asked = data.get("step", self._rerun.default())
        self.step = asked if asked in open_ones else ""
        # The step was asked for, and can't be begun at.
        self.lost_step = asked if asked and asked not in open_ones else ""
        self.reason = data.get("reason", "")
        self.key = data.get("key", "") or f"console-rerun-{uuid.uuid4()}"
        self.plan = self._rerun.plan(self.step)
        schema = self.version.definition.get("input_schema")
        self.schema = schema
        before = by_number.get(data.get("drawn", ""), self.version).definition.get("input_schema")
        self.typing = (
            Typing.sent(data, schema, before)
            if is_sent
            else Typing.begin_with(schema, source.input)
        )
        self.edited = _edited(source, self.plan.taken_over)
        for each in self.edited:
            each.text = data.get(each.name, pretty(each.output)) if each.is_shown else ""
        self.has_moved = is_sent and data.get("shown_for", "") != self.shown_for
        self.is_decided = is_sent and "refresh" not in data and not self.has_moved

    @property
    def shown_for(self) -> str:
        """What the consequences on the page are those of."""
        return f"{self.step} {self.version.version}"

    @property
    def beginning(self) -> str:
        """Where it begins, in words."""
        names = {each.step.step_id: each.step.name for each in self.choices}
        return f"at step “{names[self.step]}”" if self.step else "at the start"

    @property
    def hides_something(self) -> bool:
        """Whether something is shown masked; the service keeps what is left so."""
        return any(map(holds_hidden, [self.source.input, *(each.output for each in self.edited)]))

    @property
    def is_same_version(self) -> bool:
        return self.version.pk == self.source.version_id

    def arguments(self) -> dict[str, Any]:
        """What to call the service with; only what was changed. Raises Invalid with every place."""
        problems: list[Problem] = []
        outputs: dict[str, Any] = {}
        given: Any = KEEP
        try:
            given = self._input()
        except Invalid as error:
            problems += error.details
        for each in self.edited:
            if not each.is_shown:
                continue
            try:
                value = _output_typed(each)
            except Invalid as error:
                problems += error.details
                continue
            if not same_json(value, each.output):
                outputs[each.step.step_id] = value
        if problems:
            raise Invalid("Some of it is no valid JSON.", details=problems)
        return {
            "from_step": self.step or None,
            "version": None if self.is_same_version else self.version.version,
            "input": given,
            "outputs": outputs,
        }

    def _input(self) -> Any:
        value = self.typing.value()
        before = self.source.input
        if self.typing.mode == "form" and self.typing.fields is not None:
            # A form shows what it was filled with in its own way: that alone is no change.
            untouched = Typing.begin_with(self.schema, before)
            if untouched.mode == "form":
                before = untouched.value()
        return KEEP if same_json(value, before) else value

    def show_problems(self, problems: Sequence[Problem]) -> list[Problem]:
        """Put each problem at the field it is about; answers those of no field."""
        by_path = {f"$.outputs.{each.step.step_id}": each for each in self.edited}
        others = []
        for problem in problems:
            path = problem.path
            found = next((each for root, each in by_path.items() if _is_in(path, root)), None)
            if found is None:
                others.append(problem)
            else:
                found.error = problem.message
        if self.typing.mode == "form" and self.typing.fields is not None:
            return self.typing.fields.show_problems(others)
        return others


def _obstacle(source: Execution, versions: Sequence[WorkflowVersion]) -> str:
    """Why it can't be rerun at all; empty if it can."""
    if source.parent_id is not None:
        return f"It is part of execution {source.parent_id}: only a whole one can be rerun."
    if source.state not in RERUN.states:
        return f"The execution is {source.state}; only one that has ended can be rerun."
    return "" if versions else "Nothing can be rerun: no version is published."


def _edited(source: Execution, taken_over: Sequence[Ran]) -> list[Edited]:
    """The latest steps that are taken over, with their outputs."""
    shown = list(taken_over)[-MAX_EDITED:]
    rows = StepExecution.objects.filter(execution=source, seq__in=[each.seq for each in shown])
    sizes = {
        (seq, attempt): size or 0
        for seq, attempt, size in rows.order_by().values_list(
            "seq", "attempt", Length(Cast("output", TextField()))
        )
    }
    short = [each for each in shown if sizes.get((each.seq, each.attempt), 0) <= MAX_EDITED_CHARS]
    kept = rows.filter(seq__in=[each.seq for each in short]).order_by()
    outputs = {(row.seq, row.attempt): row.output for row in kept.only("seq", "attempt", "output")}
    return [
        Edited(each, outputs.get((each.seq, each.attempt)), is_shown=each in short)
        for each in shown
    ]


def _output_typed(edited: Edited) -> Any:
    path = f"$.outputs.{edited.step.step_id}"
    if not edited.text.strip():
        message = "JSON was expected; null stands for nothing."
        raise Invalid(message, details=[Problem(path, "json.empty", message)])
    return json_typed(edited.text, path, "The output")


def _is_in(path: str, root: str) -> bool:
    return path == root or path.startswith((f"{root}.", f"{root}["))
