"""YAML, the part of it that says the same as JSON, with the place of every value.

The library only takes the text apart into events, which costs a fraction of a second for the
largest text and knows no types; what they mean is decided here.
"""

from __future__ import annotations

import re

import yaml

from workflows.definition.text.building import Builder, Mark, Stop
from workflows.definition.text.places import ReadText
from workflows.definition.text.scalars import ScalarError, value_of
from workflows.definition.text.yaml_sentences import LINE_END, sentence_of

# Breaks of lines for YAML 1.1 and none for 1.2: read by the library, but not as they are meant.
_ODD_BREAK = re.compile("[\x85\u2028\u2029]")
# Where libyaml wasn't there when the library was installed, its own parser does the same slowly.
_Parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(text: str) -> ReadText:
    """The document of a YAML text. Raises TextError with every problem."""
    reader = _Reader(text)
    try:
        reader.read()
    except Stop:
        pass
    except yaml.YAMLError as error:
        reader.note_malformed(error)
    return reader.builder.result()


class _Reader:
    def __init__(self, text: str) -> None:
        self.builder = Builder()
        self._text = text

    def read(self) -> None:
        self._refuse_odd_breaks()
        events = _Parser(self._text)
        documents = 0
        while events.check_event():
            event = events.get_event()
            if isinstance(event, yaml.ScalarEvent):
                self._scalar(event)
            elif isinstance(event, yaml.CollectionStartEvent):
                self._begin(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                # Only brackets have an end of their own; a block ends where the next thing begins.
                start, end = _start(event), _end(event)
                self.builder.end(end if start != end else None)
            elif isinstance(event, yaml.AliasEvent):
                self._refuse_alias(event)
            elif isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                self._document(event, documents)
        if not documents:
            self.builder.stop("$", "text.empty", "The text has nothing but comments.", (0, 0))

    def note_malformed(self, error: yaml.YAMLError) -> None:
        """Add what the library found wrong to the problems."""
        at, sentence = sentence_of(error, self._text)
        try:
            self.builder.refuse(self.builder.path, "yaml.malformed", sentence, at)
        except Stop:
            return

    def _document(self, event: yaml.DocumentStartEvent, count: int) -> None:
        at = _start(event)
        if count > 1:
            message = "A second document begins here; a text holds one."
            self.builder.stop("$", "yaml.documents", message, at)
        if event.version not in (None, (1, 2)):
            message = "The text says that it is YAML 1.1; it is read as YAML 1.2."
            self.builder.refuse("$", "yaml.version", message, at)
        if event.tags:
            message = "Tags are not read here; a %TAG line has no use."
            self.builder.refuse("$", "yaml.tag", message, at)

    def _begin(self, event: yaml.CollectionStartEvent) -> None:
        at = _start(event)
        self._check_properties(event, event.implicit)
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        if self.builder.wants_key:
            self.builder.stop(self.builder.path, "yaml.key", self._odd_key(at), at)
        self.builder.begin({} if is_mapping else [], at)

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        start, end = _start(event), _end(event)
        plain, quoted = event.implicit
        is_plain = plain and not event.style
        self._check_properties(event, plain or quoted)
        if not self.builder.wants_key:
            value = self._value(event.value, start) if is_plain else event.value
            self.builder.scalar(value, start, end)
            return
        if is_plain and event.value == "<<":
            message = "Merge keys (<<) are not read here: write the fields where they belong."
            self.builder.refuse(self.builder.path, "yaml.merge", message, start)
        elif is_plain and not isinstance(self._value(event.value, start), str):
            message = f'A key is a text: write "{event.value[:40]}", with the quotes.'
            self.builder.refuse(self.builder.path, "yaml.key", message, start)
        self.builder.key(event.value, start, end)

    def _value(self, word: str, start: Mark) -> object:
        try:
            return value_of(word)
        except ScalarError as error:
            self.builder.refuse(self.builder.path, "text.number", str(error), start)
            return word

    def _check_properties(
        self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, is_untagged: bool
    ) -> None:
        at = _start(event)
        if event.anchor is not None:
            message = "Anchors (&) are not read here: write out what is meant."
            self.builder.refuse(self.builder.path, "yaml.anchor", message, at)
        if event.tag is not None or not is_untagged:
            message = "Tags (!) are not read here: quotes make a text of anything."
            self.builder.refuse(self.builder.path, "yaml.tag", message, at)

    def _refuse_alias(self, event: yaml.AliasEvent) -> None:
        start, end = _start(event), _end(event)
        message = "Aliases (*) are not read here: write out what is meant, or quote the text."
        self.builder.refuse(self.builder.path, "yaml.alias", message, start)
        if self.builder.wants_key:
            raise Stop
        self.builder.scalar(None, start, end)

    def _odd_key(self, at: Mark) -> str:
        line = LINE_END.split(self._text)[at[0]]
        if line[at[1] - 1 : at[1] + 1] == "{{":
            return "A text that begins with {{ must stand in quotes."
        return "A key is a text, not an object or a list."

    def _refuse_odd_breaks(self) -> None:
        found = _ODD_BREAK.search(self._text)
        if found is None:
            return
        before = LINE_END.split(self._text[: found.start()])
        at = (len(before) - 1, len(before[-1]))
        code = f"{ord(found[0]):04x}"
        message = (
            f"The character U+{code.upper()} ends a line to some readers of YAML and not to "
            f"others: write it as \\u{code} in double quotes."
        )
        self.builder.stop("$", "yaml.character", message, at)


def _start(event: yaml.Event) -> Mark:
    mark = event.start_mark
    return (mark.line, mark.column) if mark is not None else (0, 0)


def _end(event: yaml.Event) -> Mark:
    mark = event.end_mark
    return (mark.line, mark.column) if mark is not None else (0, 0)
