"""Following an execution from a terminal: a line a step, why it stands still, how it ended."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.core.management.base import OutputWrapper
from django.db.models import Q

from autopilot.common.words import duration_words, plural
from executions.engine.snapshot import Phase
from executions.engine.states import State, StepState
from executions.models import Execution, StepExecution
from executions.reads import step_under_way
from executions.situations import situation_of

_DATA = ("input", "variables", "output", "error")
_MARKS = {
    StepState.COMPLETED.value: ("✓", "+"),
    StepState.SKIPPED.value: ("·", "."),
}
_BAD_MARK = ("✗", "x")
NAME_WIDTH = 42
MAX_STATUS_CHARS = 100
# How often a follower looks: at once while something happens, less while nothing does.
LOOK_SECONDS = 0.05
MAX_LOOK_SECONDS = 0.5
# Standing still for this long is worth a sentence.
STILL_SECONDS = 1.0
BAR_WIDTH = 24
# Where nothing can be overwritten, a map's progress is said this often.
PROGRESS_LINES = 4


@dataclass(frozen=True, slots=True)
class Items:
    """How far the step with children is that an execution stands at: `done` of `total`, `failed`
    among them; `noun` and `nouns` are what one and several of them are called."""

    step: str
    generation: int
    total: int
    done: int
    failed: int
    noun: str = "item"
    nouns: str = "items"

    def __str__(self) -> str:
        failed = f", {self.failed:,} failed" if self.failed else ""
        return f"{self.done:,} of {plural(self.total, self.noun, self.nouns)}{failed}"


@dataclass(frozen=True, slots=True)
class Standing:
    """Nothing has ended since the last look. The execution is without its data.

    items: how far its items are, if it waits for those of a map.
    """

    execution: Execution
    items: Items | None = None


Event = StepExecution | Standing | Execution


def follow(execution_id: int, pause: Callable[[], None]) -> Iterator[Event]:
    """Every step as it ends, where it stands in between, then the execution when it has ended.

    Each look reads only the steps that are new, without what went in and came out.
    pause: called between two looks; raises to give up.
    """
    rows = Execution.objects.select_related("workflow", "version").defer("version__definition")
    seq, attempt = 0, 0
    counter = _ItemCounter()
    while True:
        # First the state, then the steps: a step that ends in between is seen either way.
        execution = rows.defer(*_DATA, "version__definition").get(pk=execution_id)
        later = Q(seq__gt=seq) | Q(seq=seq, attempt__gt=attempt)
        steps = StepExecution.objects.filter(later, execution_id=execution_id)
        for step in steps.defer("params", "output").order_by("seq", "attempt"):
            seq, attempt = step.seq, step.attempt
            yield step
        if execution.has_ended:
            yield rows.get(pk=execution_id)
            return
        yield Standing(execution, counter.look(execution))
        pause()


class _ItemCounter:
    """Reads the counters on the map's own row; how many items there are is counted once a map."""

    def __init__(self) -> None:
        self._map: tuple[str, int] | None = None
        self._total = 0

    def look(self, execution: Execution) -> Items | None:
        if execution.current_phase != Phase.CHILDREN or not execution.children_open:
            return None
        step, generation = execution.current_step, execution.children_generation
        if self._map != (step, generation):
            self._map = (step, generation)
            self._total = Execution.objects.filter(
                parent_id=execution.pk, parent_step=step, generation=generation
            ).count()
        view = step_under_way(execution, ())
        return Items(
            step=view.name if view else step,
            generation=generation,
            total=self._total,
            done=self._total - execution.children_open,
            failed=execution.children_failed,
            **({"noun": "branch", "nouns": "branches"} if execution.children_needed else {}),
        )


class Rhythm:
    """Waits between two looks: briefly after something has happened, then longer and longer."""

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep
        self._seconds = LOOK_SECONDS

    def happened(self) -> None:
        self._seconds = LOOK_SECONDS

    def wait(self) -> None:
        self._sleep(self._seconds)
        self._seconds = min(self._seconds * 1.3, MAX_LOOK_SECONDS)


class Lines:
    """Says what happens in lines; on a terminal also where it stands, in a line that changes.

    out: a command's stdout or stderr. indent: put before every line.
    """

    def __init__(self, out: OutputWrapper, *, indent: str = "") -> None:
        self._out = out
        self._indent = indent
        self._is_terminal = out.isatty()
        self._speaks_unicode = "utf" in (getattr(out, "encoding", "") or "").lower()
        self._status = ""
        self._said = ""
        self._still_since: float | None = None
        self._progress = (0, -1)

    def step(self, step: StepExecution) -> None:
        """A step has ended."""
        good, plain = _MARKS.get(step.state, _BAD_MARK)
        took = duration_words(step.duration_seconds)
        name = _cut(step.name, NAME_WIDTH)
        attempt = f"  attempt {step.attempt}" if step.attempt > 1 else ""
        mark = good if self._speaks_unicode else plain
        self.say(f"{mark} {name:<{NAME_WIDTH}} {step.type:<10} {took:>8}{attempt}")
        if step.error:
            self.say(f"  {step.error.get('code')}: {step.error.get('message')}")
        self._still_since = None

    def standing(self, execution: Execution, items: Items | None = None) -> None:
        """Nothing has ended. Why is said once for each reason, and a terminal shows it anew.

        Of a map a terminal shows a bar at once, and anything else is told each quarter of it.
        """
        if items and self._is_terminal:
            self._show(self._bar(items))
            return
        if items and items.generation > self._progress[0]:
            self._progress, self._still_since = (items.generation, -1), None
        now = time.monotonic()
        self._still_since = self._still_since or now
        if now - self._still_since < STILL_SECONDS:
            return
        if items:
            self._say_progress(items)
            return
        why = situation_of(execution).why
        if self._is_terminal:
            self._show(why.sentence)
        elif why.code != "moving" and why.code != self._said:
            self.say(why.sentence)
        self._said = why.code

    def end(self, execution: Execution) -> None:
        """It has ended: how, and after how long."""
        took = duration_words(execution.duration_seconds)
        self.say("")
        self.say(f"{execution.state.upper()}{f' in {took}' if took else ''}")

    def result(self, execution: Execution) -> None:
        """What came of it, as JSON."""
        for line in result_text(execution, ascii_only=not self._speaks_unicode).splitlines():
            self.say(line)

    def say(self, line: str) -> None:
        self.clear()
        self._write(f"{self._indent}{line}".rstrip() + "\n")

    def clear(self) -> None:
        """Take the changing line away."""
        if self._status:
            self._write("\r\x1b[K")
            self._status = ""

    def _say_progress(self, items: Items) -> None:
        reached = (items.generation, items.done * PROGRESS_LINES // items.total)
        if reached > self._progress:
            self.say(f"  {_cut(items.step, NAME_WIDTH)}: {items}")
            self._progress = reached

    def _bar(self, items: Items) -> str:
        full, rest = ("█", "░") if self._speaks_unicode else ("#", "-")
        length = items.done * BAR_WIDTH // items.total
        bar = full * length + rest * (BAR_WIDTH - length)
        # Within the 80 columns of a small terminal: a line that wraps can't be taken back.
        return f"  {_cut(items.step, BAR_WIDTH):<{BAR_WIDTH}} {bar} {items}"

    def _show(self, sentence: str) -> None:
        status = _cut(sentence, MAX_STATUS_CHARS)
        if status != self._status:
            self._write(f"\r\x1b[K{self._indent}{status}")
            self._status = status

    def _write(self, text: str) -> None:
        # As it is: stderr would color it, and both would end it with a new line.
        self._out.write(text, style_func=str, ending="")
        self._out.flush()


def result_text(execution: Execution, *, ascii_only: bool = False) -> str:
    """The output of what completed, the error of what didn't, as JSON."""
    result: Any = execution.output if execution.state == State.COMPLETED.value else execution.error
    return json.dumps(result, indent=2, ensure_ascii=ascii_only)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
