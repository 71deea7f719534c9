"""The form with which somebody decides, here and behind a link; it keeps what was typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from django.http import QueryDict

from autopilot.accounts.actors import Actor
from autopilot.common.api.parsers import parse_json
from autopilot.common.errors import DomainError, Invalid
from autopilot.common.problems import Problem
from executions.approvals.deciding import MAX_COMMENT_CHARS, decide
from executions.console.schema_form import SchemaForm
from executions.models import Approval

WORDS = {"approve": True, "reject": False}


@dataclass(slots=True)
class DecisionForm:
    """What was typed and what is wrong with it.

    fields: of the approval's schema, where it names any; text: the answer as JSON where it doesn't.
    needs_json: there is a schema that no fields can be made of.
    """

    fields: SchemaForm | None
    needs_json: bool
    text: str = ""
    comment: str = ""
    problems: list[Problem] = field(default_factory=list)
    refused: DomainError | None = None

    @classmethod
    def of(cls, approval: Approval, data: QueryDict | None = None) -> DecisionForm:
        schema = approval.form
        fields = SchemaForm(schema) if isinstance(schema, Mapping) else None
        if fields is not None and not fields.fields:
            fields = None
        needs_json = fields is None and schema is not None and schema not in ({}, True)
        form = cls(fields, needs_json)
        if data is not None:
            form.comment = data.get("comment", "").replace("\r\n", "\n")
            form.text = data.get("answer", "")
            if fields is not None:
                fields.bind(data)
        return form

    @property
    def max_comment(self) -> int:
        return MAX_COMMENT_CHARS

    def decide(self, approval: Approval, actor: Actor, word: str, via: str) -> bool:
        """Do what the button said. False if it was refused; what speaks against it is kept here."""
        if word not in WORDS:
            message = "Nothing was decided: choose Approve or Reject."
            self.refused = Invalid(message)
            return False
        approve = WORDS[word]
        try:
            # Whoever rejects need not have filled in anything.
            answer = self._answer() if approve else None
            decide(
                approval=approval,
                actor=actor,
                approve=approve,
                answer=answer,
                comment=self.comment.strip(),
                via=via,
            )
        except DomainError as error:
            self._show(error)
            return False
        return True

    def _answer(self) -> Any:
        if self.fields is not None:
            return self.fields.value()
        if self.needs_json and self.text.strip():
            try:
                return parse_json(self.text.encode("utf-8", "surrogatepass"))
            except Invalid as error:
                message = error.message.replace("The body is", "This is")
                problem = Problem("$.answer", error.code, message)
                raise Invalid(message, details=[problem]) from None
        return None

    def _show(self, error: DomainError) -> None:
        """Each problem at its field; what belongs to none, or is no matter of fields, on top."""
        self.refused = error
        # The fields know the value they make as `$.input`.
        found = [_at(each, "$.answer", "$.input") for each in error.details]
        if self.fields is not None:
            found = self.fields.show_problems(found)
        self.problems = [_at(each, "$.input", "$.answer") for each in found]


def _at(problem: Problem, old: str, new: str) -> Problem:
    if problem.path.startswith(old):
        return replace(problem, path=new + problem.path.removeprefix(old))
    return problem
