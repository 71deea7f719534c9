"""What is wrong with something a person sent: one place, one code, one sentence."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding about a document or a request.

    path: JSON path of the offending value, such as `$.steps[2].next`; `$` is the whole document.
    code: a dotted, stable identifier that programs may match, such as `step.next_unknown`.
    message: one sentence for people: what is wrong and what was expected.
    """

    path: str
    code: str
    message: str

    def as_dict(self) -> dict[str, str | int]:
        return {"path": self.path, "code": self.code, "message": self.message}
