"""`manage.py executions`: look at executions and ask something of them, from a terminal."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandParser
from django.db import Error

from autopilot.accounts.actors import Actor
from autopilot.common import clock
from autopilot.common.errors import DomainError, Invalid
from autopilot.common.words import ago_words, duration_words
from executions import bulk
from executions.api.filters import ExecutionFilter
from executions.api.selecting import matching
from executions.bulk import Selection
from executions.bulk_once import Once
from executions.engine.events import Verb
from executions.engine.states import State
from executions.management import approvals, signals
from executions.management.operator import execution_id, labels_of, not_ready, operator, read_json
from executions.models import Execution
from executions.parts import part_words
from executions.querysets import ExecutionQuerySet
from executions.reads import steps_of, transitions_of
from executions.rerunning import KEEP, RerunOptions
from executions.situations import situation_of, situations_of
from executions.trees import Node, tree_of
from workflows.definition.durations import DurationError, parse_duration

DONE, SOME_REFUSED, USAGE = 0, 1, 2
MAX_STARTED = 20
MAX_SHOWN = 1_000


class Refused(Exception):
    """What was asked for can't be done; the text says why."""


class Command(BaseCommand):
    help = (
        "List and explain executions, control them by id or by filter, decide approvals, "
        "and send signals. "
        "Exit code of a verb: 0 all were asked, 1 some were refused, 2 nothing was done."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")
        listing = tasks.add_parser("list", help="The newest that match, one a line.")
        _add_filters(listing)
        listing.add_argument("--limit", type=int, default=50, help="At most so many; 50.")
        showing = tasks.add_parser("show", help="Everything about one, or some.")
        showing.add_argument("ids", nargs="+", type=execution_id, metavar="ID")
        why = tasks.add_parser("why", help="Why they aren't moving, in a sentence each.")
        why.add_argument("ids", nargs="*", type=execution_id, metavar="ID")
        _add_filters(why)
        why.add_argument("--limit", type=int, default=50, help="At most so many; 50.")
        for each in (listing, why):
            each.add_argument("--json", action="store_true", help="One JSON object a line.")
        approvals.add_tasks(tasks)
        signals.add_tasks(tasks)
        for verb in Verb:
            asking = tasks.add_parser(verb.value, help=f"Ask executions: {verb.value}.")
            asking.add_argument("ids", nargs="*", type=execution_id, metavar="ID")
            _add_filters(asking)
            asking.add_argument("--reason", default="", help="Kept with each of them.")
            asking.add_argument(
                "--dry-run", action="store_true", help="Only say what would be touched."
            )
            asking.add_argument("--yes", action="store_true", help="Don't ask back.")
            if verb is Verb.CANCEL:
                asking.add_argument(
                    "--compensate", action="store_true", help="Undo what they did first."
                )
            if verb is Verb.RERUN:
                asking.add_argument(
                    "--from-step", metavar="ID", help="Begin at this step; default: the start."
                )
                asking.add_argument(
                    "--to-version", metavar="NUMBER", help="Run this version; default: the same."
                )
                asking.add_argument(
                    "--input", metavar="JSON", help="In place of the input: JSON, @FILE or @-."
                )
                asking.add_argument(
                    "--output",
                    action="append",
                    default=[],
                    metavar="STEP=JSON",
                    help="In place of what a step taken over came to; may be given several times.",
                )
                asking.add_argument(
                    "--idempotency-key",
                    default="",
                    help="The same key with the same request makes nothing twice.",
                )
            if verb is Verb.SKIP:
                asking.add_argument(
                    "--output", metavar="JSON", help="What the step is to count as having come to."
                )

    def handle(self, *args: Any, **options: Any) -> None:
        task: str = options["task"]
        work = self.tasks.get(task)
        try:
            if of_its_own := {**approvals.TASKS, **signals.TASKS}.get(task):
                code = of_its_own(self.stdout, options)
            else:
                code = work(self, options) if work else self._ask(Verb(task), options)
        except Refused as error:
            self.stderr.write(str(error))
            code = USAGE
        except DomainError as error:
            self.stderr.write(_option_names(error.message))
            for each in error.details:
                if each.message not in error.message:
                    self.stderr.write(f"  {_option_names(each.path)}: {each.message}")
            code = USAGE
        except Error as error:
            self.stderr.write(not_ready(error))
            code = USAGE
        except BrokenPipeError:
            # `| head` has seen enough.
            sys.stderr.close()
            code = DONE
        if code:
            sys.exit(code)

    # Looking ----------------------------------------------------------------------------------

    def _list(self, options: dict[str, Any]) -> int:
        now = clock.now()
        for row in self._newest(options):
            if options["json"]:
                self._write_json(
                    id=row.pk,
                    workflow=row.workflow.slug,
                    version=row.version.version,
                    state=row.state,
                    reason=row.reason,
                    error_code=row.error_code,
                    created_at=row.created_at.isoformat(),
                    duration_seconds=row.duration_seconds,
                )
                continue
            where = row.error_code or row.current_step or row.reason
            took = duration_words(row.duration_seconds)
            self.stdout.write(
                f"{row.pk:>9}  {row.state:<11}  {row.workflow.slug} {row.version.version}  "
                f"{ago_words(row.created_at, now)}{f'  {took}' if took else ''}  {where}".rstrip()
            )
        return DONE

    def _why(self, options: dict[str, Any]) -> int:
        if options["ids"]:
            return self._why_of_ids(options)
        rows = self._newest(options, otherwise={"state": _ACTIVE_STATES})
        situations = situations_of(rows)
        for row in rows:
            self._say_why(row, situations[row.pk].why.as_dict(), options)
        return DONE

    def _why_of_ids(self, options: dict[str, Any]) -> int:
        rows = Execution.objects.visible_to(operator()).in_bulk(options["ids"])
        for pk in options["ids"]:
            if pk in rows:
                self._say_why(rows[pk], situation_of(rows[pk]).why.as_dict(), options)
            else:
                self.stderr.write(f"There is no execution {pk}.")
        return DONE if len(rows) == len(set(options["ids"])) else USAGE

    def _say_why(self, row: Execution, why: dict[str, Any], options: dict[str, Any]) -> None:
        if options["json"]:
            self._write_json(id=row.pk, state=row.state, why=why)
        else:
            self.stdout.write(f"{row.pk}  {row.state}  {why['code']}: {why['sentence']}")

    def _show(self, options: dict[str, Any]) -> int:
        rows = Execution.objects.visible_to(operator()).select_related("workflow", "version")
        found = rows.in_bulk(options["ids"])
        for pk in options["ids"]:
            if pk in found:
                self._show_one(found[pk])
            else:
                self.stderr.write(f"There is no execution {pk}.")
        return DONE if len(found) == len(set(options["ids"])) else USAGE

    def _show_one(self, row: Execution) -> None:
        write = self.stdout.write
        write(f"Execution {row.pk} of {row.workflow.slug} {row.version.version}: {row.state}")
        write(f"  {situation_of(row).why.sentence}")
        for name, value in (("input", row.input), ("output", row.output), ("error", row.error)):
            if value is not None:
                write(f"  {name:<8} {json.dumps(value, ensure_ascii=False)}")
        if row.labels:
            write(f"  labels   {' '.join(f'{key}={value}' for key, value in row.labels.items())}")
        if row.started_by_execution_id is not None:
            write(f"  started by a step of execution {row.started_by_execution_id}")
        for other in row.started.order_by("pk")[:MAX_STARTED].only("pk", "state"):
            write(f"  started  execution {other.pk}: {other.state}")
        if row.parent_id is not None or row.children_generation:
            write("  Tree")
            for depth, node in tree_of(row).walk():
                mark = "  <- this one" if node.execution.pk == row.pk else ""
                write(f"    {'  ' * depth}{_tree_words(node)}{mark}")
        write("  Steps")
        for step in steps_of(row):
            took = duration_words(step.duration_seconds)
            write(f"    {step.seq}.{step.attempt}  {step.name}  {step.state}  {took}".rstrip())
        write("  Transitions")
        for each in transitions_of(row):
            came = f"{each.source} -> " if each.source else ""
            at = f"{each.at:%Y-%m-%d %H:%M:%S} UTC"
            write(f"    {at}  {came}{each.target}  {each.reason}  by {each.actor}")

    def _newest(
        self, options: dict[str, Any], otherwise: dict[str, Any] | None = None
    ) -> list[Execution]:
        if not 1 <= options["limit"] <= MAX_SHOWN:
            raise Refused(f"--limit is a number from 1 to {MAX_SHOWN}.")
        asked = _asked(options) or otherwise
        rows = self._matching(asked) if asked else Execution.objects.roots()
        hidden = ("input", "output", "variables", "error", "version__definition")
        rows = rows.select_related("workflow", "version").defer(*hidden).order_by("-pk")
        return list(rows[: options["limit"]])

    def _write_json(self, **fields: Any) -> None:
        self.stdout.write(json.dumps(fields, ensure_ascii=False))

    # Asking -----------------------------------------------------------------------------------

    def _ask(self, verb: Verb, options: dict[str, Any]) -> int:
        actor = operator()
        selection = self._selection(options, actor)
        given = _given(verb, options)
        if options["dry_run"]:
            return self._preview(verb, selection, actor, given)
        if selection.ids is None and not options["yes"]:
            self._confirm(verb, selection, actor, given)
        counts: Counter[str] = Counter()
        batches = bulk.apply(
            verb=verb, selection=selection, actor=actor, reason=options["reason"], **given
        )
        for batch in batches:
            for result in batch:
                counts[result.outcome] += 1
                what = f"{result.code}: {result.message}" if result.code else result.state
                if result.created is not None:
                    what = f"as {result.created}"
                self.stdout.write(f"{result.id}  {result.outcome}  {what}")
        self.stderr.write(bulk.outcome_sentence(verb, counts), style_func=str)
        return SOME_REFUSED if counts["refused"] else DONE

    def _selection(self, options: dict[str, Any], actor: Actor) -> Selection:
        asked = _asked(options)
        if bool(options["ids"]) == bool(asked):
            raise Refused("Say which executions: either ids, or at least one filter.")
        if options["ids"]:
            return Selection.of_ids(options["ids"], actor=actor)
        return Selection(self._matching(asked))

    def _preview(
        self, verb: Verb, selection: Selection, actor: Actor, given: dict[str, Any]
    ) -> int:
        seen = _seen(verb, selection, actor, given)
        for row in seen.sample:
            self.stdout.write(f"{row.pk}  {row.state}  {row.workflow.slug}")
        if seen.count > len(seen.sample):
            self.stdout.write("...")
        self.stderr.write(seen.sentence, style_func=str)
        return DONE

    def _confirm(
        self, verb: Verb, selection: Selection, actor: Actor, given: dict[str, Any]
    ) -> None:
        seen = _seen(verb, selection, actor, given)
        if not seen.count:
            return  # there is a sentence for that already
        if not sys.stdin.isatty():
            raise Refused(f"{seen.sentence} Add --yes to do it, or --dry-run to look first.")
        self.stderr.write(f"{seen.sentence} Go on? [y/N] ", style_func=str, ending="")
        self.stderr.flush()
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            raise Refused("Nothing was done.")

    @staticmethod
    def _matching(asked: dict[str, Any]) -> ExecutionQuerySet:
        return matching(asked, actor=operator(), root="$")

    tasks: ClassVar[dict[str, Callable[..., int]]] = {"list": _list, "why": _why, "show": _show}


_ACTIVE_STATES = [
    state.value
    for state in (State.INITIALIZED, State.RUNNING, State.WAITING, State.PAUSED, State.RESUMED)
]
# Filters of the list that are options of their own name here.
_PLAIN = tuple(
    name for name in ExecutionFilter.base_filters if name not in {"version", "reason", "label"}
)


def _tree_words(node: Node) -> str:
    row = node.execution
    what = part_words(row) or f"{row.workflow.slug} {row.version.version}"
    more = "  and more below" if node.has_more else ""
    return f"{row.pk}  {what}  {row.state}{more}"


def _add_filters(parser: Any) -> None:
    for name in _PLAIN:
        several = {"action": "append"} if name in ExecutionFilter.repeatable else {}
        about = ExecutionFilter.base_filters[name].extra.get("help_text", "")
        parser.add_argument(f"--{name.replace('_', '-')}", help=about, **several)
    parser.add_argument(
        "--of-version", metavar="NUMBER", help="Executions of versions with this number."
    )
    parser.add_argument(
        "--label", action="append", default=[], metavar="KEY[=VALUE]", help="All must be there."
    )
    parser.add_argument(
        "--older-than", metavar="DURATION", help="Begun before that, such as 30m, 2h or 7d."
    )


def _asked(options: dict[str, Any]) -> dict[str, Any]:
    """The filters that were given, as the list's address has them. Raises Refused."""
    asked = {name: options[name] for name in _PLAIN if options.get(name) is not None}
    if options.get("of_version"):
        asked["version"] = options["of_version"]
    if options["label"]:
        plain = [each for each in options["label"] if "=" not in each]
        try:
            pairs = labels_of(each for each in options["label"] if "=" in each)
        except ValueError as error:
            raise Refused(str(error)) from None
        asked["label"] = [*plain, *(f"{key}:{value}" for key, value in pairs.items())]
    if options.get("older_than"):
        if "created_before" in asked:
            raise Refused("--older-than and --created-before say the same; give one of them.")
        try:
            moment = clock.now() - parse_duration(options["older_than"])
        except DurationError as error:
            raise Refused(f"--older-than: {error}") from None
        asked["created_before"] = moment.isoformat()
    return asked


def _seen(verb: Verb, selection: Selection, actor: Actor, given: dict[str, Any]) -> bulk.Preview:
    how, undoes = given.get("rerun"), given.get("compensate", False)
    return bulk.preview(verb=verb, selection=selection, actor=actor, rerun=how, compensate=undoes)


def _given(verb: Verb, options: dict[str, Any]) -> dict[str, Any]:
    """What the verb takes beside a reason. Raises Refused for what is no JSON."""
    if verb is Verb.SKIP and options["output"] is not None:
        return {"output": _json(options["output"], "--output")}
    if verb is Verb.CANCEL:
        return {"compensate": options["compensate"]}
    if verb is not Verb.RERUN:
        return {}
    outputs = {}
    for pair in options["output"]:
        step, equals, text = pair.partition("=")
        if not equals or not step:
            raise Refused(f"--output {pair!r:.100} has to be written STEP=JSON.")
        outputs[step] = _json(text, f"--output {step}")
    text = options["input"]
    how = RerunOptions(
        options["from_step"],
        KEEP if text is None else _json(text, "--input"),
        outputs,
        options["to_version"],
    )
    key = options["idempotency_key"]
    if not key:
        return {"rerun": how}
    request = [how.request(), options["reason"], sorted(options["ids"]), sorted(_named(options))]
    return {"rerun": how, "once": Once(key, request)}


def _named(options: dict[str, Any]) -> list[str]:
    """The filters as they were written: a moment counted from now is the same request later."""
    names = (*_PLAIN, "of_version", "label", "older_than")
    return [f"{name}={options[name]}" for name in names if options.get(name)]


def _json(text: str, what: str) -> Any:
    try:
        return read_json(text)
    except Invalid as error:
        raise Refused(f"{what}: {error.message.replace('The body is', 'It is')}") from None
    except OSError as error:
        raise Refused(f"{what}: {error}") from None


def _option_names(text: str) -> str:
    """`$.error_code: ...` as the option it came from."""
    for name in _PLAIN:
        text = text.replace(f"$.{name}", f"--{name.replace('_', '-')}")
    return text
