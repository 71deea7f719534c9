"""Where an execution is, and why it isn't moving, as HTML whose times go on counting.

The wording is `executions.why`'s; here it only becomes a part of a page.
"""

from __future__ import annotations

from collections.abc import Callable

from django.utils.html import format_html
from django.utils.safestring import SafeString

from autopilot.common.templatetags.console import ago, since
from executions.models import Execution
from executions.phrases import Ago, Phrase, Since, Strong, Typed, Value
from executions.situations import situation_of


def html_of(phrase: Phrase) -> SafeString:
    """The phrase with names in bold, commands as code and living times."""
    if not phrase.values:
        return format_html("{}", phrase.text)
    return format_html(phrase.text, **{name: _html(each) for name, each in phrase.values.items()})


def describe(execution: Execution) -> SafeString:
    """The sentence of one execution, with everything it may need."""
    return html_of(situation_of(execution).why.phrase)


def _html(value: Value) -> SafeString | str:
    for kind, element in _ELEMENTS.items():
        if isinstance(value, kind):
            return element(value)
    return str(value)


_ELEMENTS: dict[type, Callable[..., SafeString | str]] = {
    Phrase: html_of,
    Strong: lambda value: format_html("<strong>{}</strong>", value.text),
    Typed: lambda value: format_html("<code>{}</code>", value.text),
    Since: lambda value: since(value.moment),
    Ago: lambda value: ago(value.moment),
}
