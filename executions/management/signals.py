"""`manage.py executions signal`: send a signal from a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from autopilot.common.errors import Invalid
from executions import signalling
from executions.errors import ExecutionNotFound
from executions.management.approvals import Out
from executions.management.operator import operator, read_json
from executions.models import Execution
from workflows.models import Workflow

DONE = 0


def add_tasks(tasks: Any) -> None:
    """The subcommand and its options."""
    sending = tasks.add_parser("signal", help="Send a signal to whoever waits for it.")
    sending.add_argument("name", metavar="NAME", help="Of the signal, such as payment.received.")
    sending.add_argument("--id", type=int, metavar="ID", help="Only to this execution.")
    sending.add_argument("--correlation", default="", help="Whom it is for, if --id isn't given.")
    sending.add_argument(
        "--of-workflow", metavar="SLUG", help="Only to executions of this workflow."
    )
    sending.add_argument(
        "--payload", metavar="JSON", default="null", help="The data: JSON, @FILE or @-."
    )
    sending.add_argument(
        "--broadcast", action="store_true", help="To all that wait for it now, and nobody later."
    )
    sending.add_argument(
        "--idempotency-key", default="", help="The same key with the same signal sends it once."
    )


def send(out: Out, options: dict[str, Any]) -> int:
    """One line for each signal: its id, its state, and whose step it was given to."""
    given: dict[str, Any] = {
        "name": options["name"],
        "actor": operator(),
        "payload": _payload(options["payload"]),
        "correlation": options["correlation"],
    }
    if slug := options["of_workflow"]:
        given["workflow"] = Workflow.objects.filter(slug=slug).first()
        if given["workflow"] is None:
            raise Invalid(f"There is no workflow {slug!r:.80}.")
    if options["broadcast"]:
        if options["id"] or options["idempotency_key"]:
            raise Invalid("--broadcast goes with neither --id nor --idempotency-key.")
        sent = signalling.broadcast_signal(**given)
    else:
        if options["id"] is not None:
            given["execution"] = Execution.objects.filter(pk=options["id"]).first()
            if given["execution"] is None:
                raise ExecutionNotFound(f"There is no execution {options['id']}.")
        key = options["idempotency_key"]
        sent = [signalling.send_signal(**given, idempotency_key=key)]
    for each in sent:
        each.signal.refresh_from_db(fields=["execution", "consumed_at", "refused_at"])
        whose = f"  execution {each.signal.execution_id}" if each.signal.execution_id else ""
        before = "" if each.created else "  (sent before)"
        out.write(f"{each.signal.pk}  {each.signal.state}{whose}{before}")
    if not sent:
        out.write("Nobody waits for it.")
    return DONE


def _payload(text: str) -> Any:
    try:
        return read_json(text)
    except OSError as error:
        raise Invalid(str(error)) from None


TASKS: dict[str, Callable[[Out, dict[str, Any]], int]] = {"signal": send}
