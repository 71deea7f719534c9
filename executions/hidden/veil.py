"""What one execution knows to be hidden, and how its values are written because of that."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from autopilot.common.crypto import digests
from executions.engine.payload import Payload
from executions.hidden import marks
from executions.hidden.marks import MASK, SIGN, SIGN_BYTES, Hidden
from executions.hidden.traces import (
    Match,
    Traces,
    key_of,
    key_of_list,
    key_of_object,
    key_of_scalar,
)
from workflows.definition.redaction import NOTHING_HIDDEN, Place, Redaction

# More marks in one value than this, and it is sealed as a whole: each costs some microseconds.
MAX_MARKS: Final = 500


@dataclass(slots=True)
class _Seal:
    """Something that is to be hidden; how is decided when it is known what lies around it."""

    value: Any
    shown: str = MASK
    parts: list[str] | None = None


class Veil:
    """Hidden values are learned when they are read or made, and hidden wherever they are written.

    It costs next to nothing as long as nothing is hidden.

    redaction: what the definition says. output: where in what the execution itself comes to.
    """

    __slots__ = ("_around", "_own", "output", "redaction")

    def __init__(self, redaction: Redaction = NOTHING_HIDDEN, output: Place | None = None) -> None:
        self.redaction = redaction
        self.output = output
        self._own = Traces()
        self._around: list[Traces] = []

    def __bool__(self) -> bool:
        """Whether it knows of anything that is hidden."""
        return bool(self._own or self._around)

    @property
    def is_needed(self) -> bool:
        """Whether anything is hidden, or may turn out to be."""
        return bool(self or self.redaction or self.output)

    # Learning ---------------------------------------------------------------------------------

    def include(self, other: Veil) -> None:
        """Know what the other knows now, such as that of the execution around an item."""
        self._around.extend(each for each in (other._own, *other._around) if each)

    def learn(self, value: Any) -> None:
        """This value is hidden."""
        self._own.learn(value)

    def learn_at(self, value: Any, place: Place | None) -> None:
        """What lies at this place of a value is hidden."""
        for found in _at(value, place):
            self._own.learn(found)

    def load(self, text: str | None) -> Any:
        """A stored document as it really is. Raises Undecipherable.

        Django leaves jsonb as text on its connections; `json` keeps large integers exact.
        """
        if text is None:
            return None
        document = json.loads(text)
        return marks.read(document, self._open) if SIGN in text else document

    def reveal(self, value: Any) -> Any:
        """A value that was read through a model as it really is. Raises Undecipherable."""
        if isinstance(value, Hidden):
            return self._open(value.token, str(value))
        if isinstance(value, dict):
            return {key: self.reveal(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.reveal(item) for item in value]
        return value

    def _open(self, token: str, shown: str) -> Any:
        opened = marks.unseal(token)
        if opened.is_wrapped:
            return marks.read(opened.value, self._open)
        # Of a text that only holds something hidden, just that is followed.
        for each in [opened.value] if opened.parts is None else opened.parts:
            self._own.learn(each)
        return opened.value

    # Writing ----------------------------------------------------------------------------------

    def payload(self, payload: Payload, place: Place | None = None) -> bytes:
        """The JSON text to be stored of a value: what is hidden in it, or at `place`, is sealed."""
        tree = payload.value
        if place is not None or self:
            tree = self._hide(tree, place)
        if tree is payload.value and SIGN_BYTES not in payload.text:
            return payload.text
        return _dump(_finished(tree, _mark, marks.escape))

    def fields(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The same for each value of an object whose names are ours or the definition's."""
        return {name: self.document(value) for name, value in values.items()}

    def document(self, value: Any, place: Place | None = None) -> Any:
        """The same for a value that was not encoded yet; the answer is for `orjson`."""
        tree = value
        if place is not None or self:
            tree = self._hide(value, place)
        if tree is not value:
            return _finished(tree, _mark, marks.escape)
        try:
            text = orjson.dumps(value)
        except TypeError:  # integers beyond 64 bits: whoever writes it finds out
            return _finished(value, _mark, marks.escape)
        return _finished(value, _mark, marks.escape) if SIGN_BYTES in text else value

    def conceal(self, value: Any, place: Place | None = None) -> Any:
        """The same for a value that is saved through a model."""
        if place is None and not self:
            return value
        return _finished(self._hide(value, place), _hidden, str)

    def mask(self, text: str) -> str:
        """The text with `•••` in the places of what is hidden; for what is never read again."""
        if not self or not (found := self._merged(text)):
            return text
        return _masked(text, found)

    def disguise(self, text: str) -> str:
        """The masked text with something that tells it from any other one, if it is masked."""
        shown = self.mask(text)
        return text if shown == text else f"{shown} {digests(text.encode())[0][:16]}"

    def masked(self, value: Any) -> Any:
        """The same for a value; what comes out is stored as it is."""
        if not self:
            return self.document(value)
        return _finished(self._hide(value, None), _shown, marks.escape)

    def masked_payload(self, payload: Payload) -> bytes:
        """The same for a value that is encoded already, as JSON text."""
        if not self and SIGN_BYTES not in payload.text:
            return payload.text
        return _dump(self.masked(payload.value))

    def hides_list(self, items: Sequence[Any]) -> bool:
        """Whether this list, or the one that it was cut out of in pieces, is hidden as a whole."""
        if not self:
            return False
        keys = [key_of(item) for item in items]
        if self._has_container(key_of_list(keys)):
            return True
        if not items or not all(isinstance(item, list) for item in items):
            return False
        flat = [key_of(each) for item in items for each in item]
        return self._has_container(key_of_list(flat))

    # How --------------------------------------------------------------------------------------

    def _hide(self, value: Any, place: Place | None) -> Any:
        """The value with seals in it; itself where nothing is hidden."""
        tree, _ = self._walk(value, place)
        if tree is not value and _count(tree) > MAX_MARKS:
            if isinstance(value, dict) and isinstance(tree, dict):
                return {
                    name: item if item is value[name] else _Seal(value[name])
                    for name, item in tree.items()
                }
            return _Seal(value)
        return tree

    def _walk(self, value: Any, place: Place | None) -> tuple[Any, int]:
        if place is not None and place.is_here:
            return (value if isinstance(value, Hidden) else _Seal(value)), key_of(value)
        if isinstance(value, dict):
            return self._walk_object(value, place)
        if isinstance(value, (list, tuple)):
            return self._walk_list(value, place)
        return self._leaf(value), key_of_scalar(value)

    def _leaf(self, value: Any) -> Any:
        if isinstance(value, Hidden) or value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            found = self._merged(value)
            if not found:
                return value
            parts = list(dict.fromkeys(each for *_, each in self._matches(value)))
            return _Seal(value, _masked(value, found), parts)
        if isinstance(value, (int, float)) and any(each.has_number(value) for each in self._all()):
            return _Seal(value)
        return value

    def _walk_object(self, value: Mapping[str, Any], place: Place | None) -> tuple[Any, int]:
        keys, tree, is_same, shows = {}, {}, True, False
        for name, item in value.items():
            below = place.below.get(name) if place else None
            tree[name], keys[name] = self._walk(item, below)
            is_same = is_same and tree[name] is item
            shows = shows or bool(self and self._merged(name))
        key = key_of_object(keys)
        if shows or self._has_container(key):
            return _Seal(value), key
        return (value if is_same else tree), key

    def _walk_list(self, value: Sequence[Any], place: Place | None) -> tuple[Any, int]:
        keys, tree, is_same = [], [], True
        for index, item in enumerate(value):
            below = place.below.get(str(index)) if place else None
            written, key = self._walk(item, below)
            tree.append(written)
            keys.append(key)
            is_same = is_same and written is item
        key = key_of_list(keys)
        if self._has_container(key):
            return _Seal(value), key
        return (value if is_same else tree), key

    def _all(self) -> Iterator[Traces]:
        if self._own:
            yield self._own
        yield from self._around

    def _has_container(self, key: int) -> bool:
        return any(each.has_container(key) for each in self._all())

    def _matches(self, text: str) -> Iterator[Match]:
        for each in self._all():
            yield from each.matches(text)

    def _merged(self, text: str) -> list[tuple[int, int]]:
        """The places that are hidden, in order, none touching another."""
        merged: list[tuple[int, int]] = []
        for start, end, _ in sorted(self._matches(text)):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged


def _at(value: Any, place: Place | None) -> Iterator[Any]:
    """What lies at a place."""
    if place is None:
        return
    if place.is_here:
        yield value
        return
    for token, below in place.below.items():
        if isinstance(value, dict) and token in value:
            yield from _at(value[token], below)
        elif isinstance(value, (list, tuple)) and _is_index(token) and int(token) < len(value):
            yield from _at(value[int(token)], below)


def _is_index(token: str) -> bool:
    return token.isascii() and token.isdecimal() and len(token) < 10 and str(int(token)) == token


def _masked(text: str, places: Sequence[tuple[int, int]]) -> str:
    pieces, end = [], 0
    for start, stop in places:
        pieces += [text[end:start], MASK]
        end = stop
    return "".join([*pieces, text[end:]])


def _count(tree: Any) -> int:
    if isinstance(tree, (_Seal, Hidden)):
        return 1
    if isinstance(tree, dict):
        return sum(map(_count, tree.values()))
    if isinstance(tree, (list, tuple)):
        return sum(map(_count, tree))
    return 0


def _finished(
    tree: Any, on_seal: Callable[[_Seal | Hidden], Any], on_key: Callable[[str], str]
) -> Any:
    """The tree with its seals carried out, and its keys as they are written."""
    if isinstance(tree, (_Seal, Hidden)):
        return on_seal(tree)
    if isinstance(tree, dict):
        return {on_key(name): _finished(item, on_seal, on_key) for name, item in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_finished(item, on_seal, on_key) for item in tree]
    return tree


def _hidden(sealed: _Seal | Hidden) -> Hidden:
    if isinstance(sealed, Hidden):
        return sealed
    # A part of it may be hidden already.
    return marks.seal(marks.reveal(sealed.value), shown=sealed.shown, parts=sealed.parts)


def _mark(sealed: _Seal | Hidden) -> dict[str, str]:
    return marks.mark(_hidden(sealed))


def _shown(sealed: _Seal | Hidden) -> str:
    return str(sealed) if isinstance(sealed, Hidden) else sealed.shown


def _dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
