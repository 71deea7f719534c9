"""A JSON value as people read it: names and values, nested, and tables where rows are alike."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from executions.console.schema_form import label_of

MAX_DEPTH = 6
MAX_ENTRIES = 100
MAX_COLUMNS = 8
MAX_INLINE = 12
MAX_TEXT = 4_000


def tree_of(value: Any) -> SafeString:
    """The value as HTML; what is nested too deep, or too long, is cut and says so."""
    return _html(value, 0)


def _html(value: Any, depth: int) -> SafeString:
    if isinstance(value, Mapping) and value:
        return _object(value, depth) if depth < MAX_DEPTH else _text(_json(value))
    if isinstance(value, list) and value:
        return _list(value, depth) if depth < MAX_DEPTH else _text(_json(value))
    return _scalar(value)


def _object(value: Mapping[str, Any], depth: int) -> SafeString:
    # PostgreSQL keeps no order of keys; what can be read at a glance goes first.
    shown = sorted(value.items(), key=lambda pair: _is_deep(pair[1]))[:MAX_ENTRIES]
    rows = [
        (" cx-tree-deep" if _is_deep(item) else "", label_of(key) or key, _html(item, depth + 1))
        for key, item in shown
    ]
    body = format_html_join("", '<div class="cx-tree-row{}"><dt>{}</dt><dd>{}</dd></div>', rows)
    return format_html('<dl class="cx-tree">{}</dl>{}', body, _more(len(value)))


def _list(value: Sequence[Any], depth: int) -> SafeString:
    if not _is_deep(value):
        return _text(", ".join(each if isinstance(each, str) else _json(each) for each in value))
    columns = _columns(value)
    if columns:
        return _table(value, columns)
    items = ((_html(each, depth + 1),) for each in value[:MAX_ENTRIES])
    body = format_html_join("", "<li>{}</li>", items)
    return format_html('<ol class="cx-tree-list">{}</ol>{}', body, _more(len(value)))


def _columns(value: Sequence[Any]) -> list[str]:
    """The keys of a list of flat objects that are alike; none where a table would not do."""
    if len(value) < 2 or not all(isinstance(each, Mapping) and each for each in value):
        return []
    keys = list(dict.fromkeys(key for each in value[:MAX_ENTRIES] for key in each))
    flat = not any(_is_deep(item) for each in value[:MAX_ENTRIES] for item in each.values())
    return keys if flat and len(keys) <= MAX_COLUMNS else []


def _table(value: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> SafeString:
    head = format_html_join(
        "", '<th scope="col">{}</th>', ((label_of(key) or key,) for key in columns)
    )
    body = format_html_join(
        "",
        "<tr>{}</tr>",
        (
            (
                format_html_join(
                    "",
                    '<td data-label="{}">{}</td>',
                    ((label_of(key), _scalar(each[key]) if key in each else "") for key in columns),
                ),
            )
            for each in value[:MAX_ENTRIES]
        ),
    )
    return format_html(
        '<div class="cx-tree-wide"><table class="cx-tree-table"><thead><tr>{}</tr></thead>'
        "<tbody>{}</tbody></table></div>{}",
        head,
        body,
        _more(len(value)),
    )


def _scalar(value: Any) -> SafeString:
    if value is None or value in ("", [], {}):
        word = "none" if value is None else "empty"
        return format_html('<span class="cx-soft">{}</span>', word)
    if isinstance(value, bool):
        return format_html("{}", "Yes" if value else "No")
    if isinstance(value, (int, float)):
        return format_html('<span class="cx-tree-number">{}</span>', _json(value))
    return _text(str(value))


def _text(text: str) -> SafeString:
    cut = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
    return format_html('<span class="cx-tree-text">{}</span>', cut)


def _is_deep(value: Any) -> bool:
    """Whether it needs lines of its own; a short list of plain values doesn't."""
    if isinstance(value, list):
        return len(value) > MAX_INLINE or any(isinstance(each, (dict, list)) for each in value)
    return isinstance(value, dict) and bool(value)


def _more(count: int) -> SafeString:
    if count <= MAX_ENTRIES:
        return SafeString("")
    return format_html('<p class="cx-help">and {} more</p>', f"{count - MAX_ENTRIES:,}")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
