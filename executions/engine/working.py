"""The planner's scratch pad: a copy of the snapshot that moves on with every command."""

from __future__ import annotations

from copy import copy

from executions.engine.commands import (
    Closing,
    Command,
    Move,
    RecordStep,
    SetVariables,
    Transit,
)
from executions.engine.snapshot import Frame, Position, Snapshot, StepFact
from executions.engine.states import State, StepState


class Working:
    """Collects commands and keeps the snapshot in step with them; the original stays as it was."""

    __slots__ = ("closing", "commands", "origin", "snapshot")

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = copy(snapshot)
        self.snapshot.steps = dict(snapshot.steps)
        self.commands: list[Command] = []
        # Where what is failing now began to fail, while that goes up through the groups around it.
        self.origin: tuple[Position, tuple[Frame, ...]] | None = None
        # If a wait for news from outside ends, why; None: it has been closed before.
        self.closing: Closing | None = Closing.ABANDONED

    def add(self, command: Command) -> None:
        self.commands.append(command)

    def move(self, position: Position | None) -> None:
        """Stand at another step, or at another phase of the same one.

        Only the last position of a plan becomes durable, so an earlier one leaves no command.
        """
        self.snapshot.position = position
        if self.commands and isinstance(self.commands[-1], Move):
            self.commands[-1] = Move(position)
        else:
            self.commands.append(Move(position))

    def note_origin(self) -> None:
        """Keep the innermost place: an execution that fails for good stands there afterwards."""
        position = self.snapshot.position
        if self.origin is None and position is not None:
            self.origin = (position, self.snapshot.frames)

    def transit(self, target: State, reason: str, actor: str) -> None:
        self.commands.append(Transit(self.snapshot.state, target, reason, actor))
        self.snapshot.state = target

    def set_fact(self, step_id: str, fact: StepFact) -> None:
        steps = self.snapshot.steps
        assert isinstance(steps, dict)
        steps[step_id] = fact

    def record(self, command: RecordStep, *, is_output: bool) -> None:
        self.commands.append(command)
        error = command.error.as_dict() if command.error else None
        self.set_fact(
            command.step_id,
            StepFact(command.state, command.output.value, error, command.attempt),
        )
        if is_output and command.state is StepState.COMPLETED:
            self.snapshot.note_output(command.seq, command.output.value)

    def set_variables(self, command: SetVariables) -> None:
        self.commands.append(command)
        self.snapshot.vars = command.variables
