"""What the rest of a definition asks of an execution that is moved into the middle of it.

Formulas of steps that are yet to come name results, variables and errors of what came before. Of
an execution that has run by another definition some of that may never come about. Only what the old
definition did not ask for as well is looked for: whatever was missing there is missing anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from workflows.definition.expressions import ExpressionError, compile_expression
from workflows.definition.formulas import Formula, document_formulas, step_formulas
from workflows.definition.graph import ScopeGraph
from workflows.definition.names import Reference
from workflows.definition.outline import Outline, Scope, Step
from workflows.definition.templates import compile_template
from workflows.definition.visibility import Visibility, execution_of

_ALWAYS_KNOWN = frozenset({"execution", "error", "secrets"})


@dataclass(frozen=True, slots=True)
class Need:
    """Something that a formula of the new definition names.

    path: of the formula. reference: what it names, from the root on. must_run: the first of it is
    a step that has to have run; otherwise only what it came to, if it has, is to have these keys.
    """

    path: str
    reference: Reference
    must_run: bool = False

    @property
    def text(self) -> str:
        return ".".join(self.reference)


@dataclass(frozen=True, slots=True)
class Needs:
    """By what they are looked for in: results of steps, variables, the input, caught errors."""

    steps: tuple[Need, ...] = ()
    variables: tuple[Need, ...] = ()
    input: tuple[Need, ...] = ()
    names: tuple[Need, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.steps or self.variables or self.input or self.names)


NOTHING = Needs()


class NeedsFinder:
    """Answers for one pair of definitions; each place is worked out once.

    names: which new step each old one becomes.
    """

    def __init__(
        self,
        old_document: Mapping[str, Any],
        new_document: Mapping[str, Any],
        old: Outline,
        new: Outline,
        names: Mapping[str, str],
    ) -> None:
        self._old = _Side(old_document, old)
        self._new = _Side(new_document, new)
        self._names = names
        self._sources = {target: source for source, target in names.items()}
        self._known: dict[tuple[str, str], Needs] = {}

    def needs(self, step_id: str, scope_id: str) -> Needs:
        """See `MigrationPlan.needs`. Nothing where the step becomes none."""
        key = (step_id, scope_id)
        if key not in self._known:
            self._known[key] = self._find(step_id, scope_id)
        return self._known[key]

    def _find(self, step_id: str, scope_id: str) -> Needs:
        old = self._old.steps.get(step_id) or self._old.first_of(scope_id)
        if old is None:
            return NOTHING
        new = self._new.steps.get(self._names.get(old.id, ""))
        if new is None and not step_id:
            new = self._counterpart_of_first(old)
        if new is None:
            return NOTHING
        asked_before = {self._renamed(each) for each in self._old.asked(old)}
        ahead = {step.id for step in self._new.ahead(new)}
        fresh = {
            reference: path
            for reference, path in sorted(self._new.asked(new).items())
            if reference not in asked_before
        }
        local = new.scope.names
        return Needs(
            steps=tuple(self._of_steps(fresh, ahead, asked_before, old, new)),
            variables=tuple(
                Need(path, reference)
                for reference, path in fresh.items()
                if reference[0] == "vars"
                and len(reference) > 1
                and reference[1] not in self._new.assigned(ahead)
            ),
            input=tuple(
                Need(path, reference)
                for reference, path in fresh.items()
                if reference[0] == "input" and len(reference) > 1
            ),
            names=tuple(self._of_names(fresh, ahead, asked_before, local)),
        )

    def _counterpart_of_first(self, old: Step) -> Step | None:
        """The first step of the scope that an execution which has not begun is to run."""
        holder = old.scope.parent
        if holder is None:
            return self._new.first_of("")
        target = self._names.get(holder.id)
        if target is None:
            return None
        at = holder.scopes.index(old.scope)
        scopes = self._new.steps[target].scopes
        return scopes[at].steps[0] if at < len(scopes) and scopes[at].steps else None

    def _renamed(self, reference: Reference) -> Reference:
        if reference[0] != "steps" or len(reference) < 2:
            return reference
        return ("steps", self._names.get(reference[1], ""), *reference[2:])

    def _of_steps(
        self,
        fresh: Mapping[Reference, str],
        ahead: set[str],
        asked_before: set[Reference],
        old: Step,
        new: Step,
    ) -> Iterator[Need]:
        known = {each[1] for each in asked_before if each[0] == "steps" and len(each) > 1}
        for reference, path in fresh.items():
            if reference[0] != "steps" or len(reference) < 2 or reference[1] in ahead:
                continue
            step_id = reference[1]
            source = self._old.steps.get(self._sources.get(step_id, ""))
            could_run = source is not None and self._old.can_have_run(source, old)
            must_run = step_id not in known and not could_run
            yield Need(path, reference, must_run)

    def _of_names(
        self,
        fresh: Mapping[Reference, str],
        ahead: set[str],
        asked_before: set[Reference],
        local: frozenset[str],
    ) -> Iterator[Need]:
        """Names under which errors are caught; of a map's item the step that makes it knows."""
        roots = {each[0] for each in asked_before}
        told: set[str] = set()
        for reference, path in fresh.items():
            root = reference[0]
            if root in _ALWAYS_KNOWN or root in ("input", "vars", "steps") or root in roots | told:
                continue
            if root not in local and root not in self._new.caught(ahead):
                told.add(root)
                yield Need(path, (root,))


class _Side:
    """One of the two definitions."""

    def __init__(self, document: Mapping[str, Any], outline: Outline) -> None:
        self._document = document
        self._outline = outline
        self.steps = outline.by_id()
        self._scopes = {scope.id: scope for scope in outline.scopes}
        self._visibility = Visibility(outline)
        self._ways: dict[str, dict[str, list[str]]] = {}

    def first_of(self, scope_id: str) -> Step | None:
        scope = self._scopes.get(scope_id)
        return scope.steps[0] if scope is not None and scope.steps else None

    def can_have_run(self, target: Step, before: Step) -> bool:
        return self._visibility.can_have_run(target, before=before)

    def ahead(self, step: Step) -> list[Step]:
        """What one and the same execution may still take when it stands there, with what is inside;
        also the groups that it is inside of, which are yet to end.
        """
        found: dict[str, Step] = {}
        scope, own = step.scope, execution_of(step.scope)
        here = self._reached(step)
        while True:
            found.update((inner.id, inner) for each in here for inner in _with_inner(each))
            holder = scope.parent
            if scope is own or holder is None:
                return list(found.values())
            found.setdefault(holder.id, holder)
            if scope.kind == "group":
                last = [each for one in holder.scopes if one is not scope for each in one.steps]
                found.update((inner.id, inner) for each in last for inner in _with_inner(each))
            here = [each for one in self._followers(holder) for each in self._reached(one)]
            scope = holder.scope

    def _followers(self, step: Step) -> list[Step]:
        return [self.steps[id] for id in self._ways_of(step.scope).get(step.id, [])]

    def _reached(self, step: Step) -> list[Step]:
        """The step, and what follows it in its scope."""
        ways = self._ways_of(step.scope)
        seen, pending = {step.id}, [step.id]
        while pending:
            for target in ways.get(pending.pop(), []):
                if target not in seen:
                    seen.add(target)
                    pending.append(target)
        return [self.steps[id] for id in seen]

    def _ways_of(self, scope: Scope) -> dict[str, list[str]]:
        if scope.id not in self._ways:
            ways: dict[str, list[str]] = {}
            for edge in ScopeGraph(scope).edges():
                if edge.target is not None:
                    ways.setdefault(edge.source, []).append(edge.target)
            self._ways[scope.id] = ways
        return self._ways[scope.id]

    def asked(self, step: Step) -> dict[Reference, str]:
        """What formulas name from there on, each with the path of the first that does."""
        found: dict[Reference, str] = {}
        order = {each.id: at for at, each in enumerate(self._outline.steps)}
        for each in sorted(self.ahead(step), key=lambda one: order[one.id]):
            _collect(step_formulas(each), found)
        if execution_of(step.scope).kind == "root":
            formulas = document_formulas(self._document, self._outline.root)
            _collect((each for each in formulas if not each.input_only), found)
        return found

    def assigned(self, ids: set[str]) -> set[str]:
        """The variables that these steps assign."""
        found: set[str] = set()
        for id in ids:
            assign = self.steps[id].raw.get("assign")
            found.update(assign if isinstance(assign, dict) else ())
        return found

    def caught(self, ids: set[str]) -> set[str]:
        """The names under which these steps catch errors, and of the items of these maps."""
        found: set[str] = set()
        for id in ids:
            step = self.steps[id]
            found.update(name for scope in step.scopes for name in scope.names)
            entries = step.raw.get("catch")
            for entry in entries if isinstance(entries, list) else ():
                if isinstance(entry, dict) and isinstance(entry.get("as"), str):
                    found.add(entry["as"])
        return found


def _with_inner(step: Step) -> Iterator[Step]:
    yield step
    for scope in step.scopes:
        for each in scope.steps:
            yield from _with_inner(each)


def _collect(formulas: Iterable[Formula], found: dict[Reference, str]) -> None:
    for formula in formulas:
        try:
            compile_ = compile_expression if formula.is_expression else compile_template
            references = compile_(formula.source).references
        except ExpressionError:
            continue
        for reference in references:
            found.setdefault(reference, formula.path)
