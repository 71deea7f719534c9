"""The tasks of `manage.py executions` that are about approvals: look, decide, ask others."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import Any, Protocol

from django.contrib.auth import get_user_model

from autopilot.accounts.actors import actor_of
from autopilot.common import clock
from autopilot.common.errors import Invalid, NotFound
from autopilot.common.words import ago_words
from executions import services
from executions.approvals.errors import ApprovalNotFound
from executions.approvals.reads import ApprovalView, views_of, with_execution
from executions.management.operator import operator, read_json
from executions.models import Approval, ApprovalState

DONE, USAGE = 0, 2
MAX_SHOWN = 1_000


class Out(Protocol):
    """Where a command writes."""

    def write(self, text: str, /) -> Any: ...


def add_tasks(tasks: Any) -> None:
    """The subcommands and their options."""
    listing = tasks.add_parser("approvals", help="Questions to people, the newest first.")
    listing.add_argument(
        "--state",
        action="append",
        choices=ApprovalState.values,
        help="May be given several times; default: open.",
    )
    listing.add_argument("--of", metavar="USER", help="Only those that await this person's word.")
    listing.add_argument("--limit", type=int, default=50, help="At most so many; 50.")
    listing.add_argument("--json", action="store_true", help="One JSON object a line.")
    for name in ("approve", "reject"):
        deciding = tasks.add_parser(name, help=f"{name.capitalize()} on behalf of a person.")
        deciding.add_argument("id", type=_id, metavar="APPROVAL")
        deciding.add_argument(
            "--as", dest="as_user", required=True, metavar="USER", help="Whose decision it is."
        )
        deciding.add_argument("--comment", default="", help="Kept with the decision.")
        deciding.add_argument(
            "--answer", metavar="JSON", help="What the form asks for: JSON, @FILE or @-."
        )
    asking = tasks.add_parser("reassign", help="Ask others than those who were asked.")
    asking.add_argument("id", type=_id, metavar="APPROVAL")
    asking.add_argument("--user", action="append", default=[], metavar="USER")
    asking.add_argument("--group", action="append", default=[], metavar="GROUP")
    asking.add_argument("--reason", required=True, help="Kept in the audit trail.")


def _id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise ArgumentTypeError(f"the id of an approval is a whole number, not {text!r:.50}")
    return int(text)


def list_approvals(out: Out, options: dict[str, Any]) -> int:
    if not 1 <= options["limit"] <= MAX_SHOWN:
        raise Invalid(f"--limit is a number from 1 to {MAX_SHOWN}.")
    rows = Approval.objects.filter(state__in=options["state"] or [ApprovalState.OPEN])
    if options["of"]:
        rows = rows.decidable_by(actor_of(_user(options["of"])))
    found = with_execution(rows).defer("context", "form", "description").order_by("-pk")
    for view in views_of(list(found[: options["limit"]]), operator()):
        out.write(
            json.dumps(_as_json(view), ensure_ascii=False) if options["json"] else _line(view)
        )
    return DONE


def _line(view: ApprovalView) -> str:
    approval = view.approval
    now = clock.now()
    due = f"  due {ago_words(approval.expires_at, now)}" if approval.expires_at else ""
    taken = f"  taken by {approval.claimed_by}" if approval.claimed_by_id else ""
    return (
        f"{approval.pk:>9}  {approval.state:<9}  {view.agreed}/{approval.quorum}  "
        f"{approval.title}  of execution {approval.execution_id} "
        f"({approval.execution.workflow.slug})  from {view.asked}  "
        f"{ago_words(approval.opened_at, now)}{due}{taken}"
    )


def _as_json(view: ApprovalView) -> dict[str, Any]:
    approval = view.approval
    return {
        "id": approval.pk,
        "execution": approval.execution_id,
        "workflow": approval.execution.workflow.slug,
        "step": approval.step_id,
        "title": approval.title,
        "state": approval.state,
        "agreed": view.agreed,
        "quorum": approval.quorum,
        "users": list(view.first.users),
        "groups": list(view.first.groups),
        "open_to_all": approval.is_open_to_all,
        "opened_at": approval.opened_at.isoformat(),
        "expires_at": approval.expires_at.isoformat() if approval.expires_at else None,
    }


def approve(out: Out, options: dict[str, Any]) -> int:
    return _decide(out, options, approve=True)


def reject(out: Out, options: dict[str, Any]) -> int:
    return _decide(out, options, approve=False)


def _decide(out: Out, options: dict[str, Any], *, approve: bool) -> int:
    """A decision is somebody's: the person's rules hold, and the trail names both."""
    user = _user(options["as_user"])
    answer = None if options["answer"] is None else read_json(options["answer"])
    done = services.decide(
        approval=_approval(options["id"]),
        actor=actor_of(user),
        approve=approve,
        answer=answer,
        comment=options["comment"],
        via="command",
        typed_by=operator().name,
    )
    said = "approved" if approve else "rejected"
    before = "" if done.created else ", as before"
    out.write(f"{done.approval.pk}  {said}{before}; it is {done.approval.state}")
    return DONE


def reassign(out: Out, options: dict[str, Any]) -> int:
    done = services.reassign(
        approval=_approval(options["id"]),
        actor=operator(),
        users=options["user"],
        groups=options["group"],
        reason=options["reason"],
    )
    view = views_of([done], operator())[0]
    out.write(f"{done.pk}  now asks {view.asked}")
    return DONE


def _approval(pk: int) -> Approval:
    found: Approval | None = Approval.objects.filter(pk=pk).first()
    if found is None:
        raise ApprovalNotFound(f"There is no approval {pk}.")
    return found


def _user(name: str) -> Any:
    users = get_user_model()
    user = users._default_manager.filter(**{users.USERNAME_FIELD: name}).first()
    if user is None:
        raise NotFound(f"There is no user {name!r:.80}.")
    return user


TASKS: dict[str, Callable[[Out, dict[str, Any]], int]] = {
    "approvals": list_approvals,
    "approve": approve,
    "reject": reject,
    "reassign": reassign,
}
