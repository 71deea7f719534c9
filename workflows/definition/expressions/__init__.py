"""The expression language: a subset of Python expressions over plain JSON, bounded in every way.

The language, for people who write it
-------------------------------------
- Values are null, true/false, numbers, texts, lists and objects (`True`, `False`, `None` work
  too). A dotted name is a key: `input.items` is the field "items", never a method. A key that is
  no name, is a word of the language or begins with an underscore is written `input["from"]`.
- `+ - * / // % **`, comparisons, `and or not in`, `is null`, `a if b else c`, indexing and slices,
  lists, objects, comprehensions of both (at most four `for`), `[*a, *b]`, `{**a, "b": 1}`,
  f-strings without formats. A tuple is a list. Keys of objects are texts.
- Functions: `len int float str list round abs sum min max sorted any all range`, `keys values
  items` of an object, `now() date() duration() format_date()`, `regex_match() regex_search()`,
  `to_json() from_json()`, `default(path, value)`. Methods of texts without side effects or widths.
- `min`, `max`, `sorted` take `key="field"`, `sorted` also `reverse=true`, the others `default=`.
- `str()`, f-strings and templates write a text as it is and all else as JSON (`true`, `null`).
- `default(path, value)` gives `value` when a key of the path is not there, an index is out of
  range, or something before the last key is null. A null that is there stays null.
- A generator inside a call is run whole before the function sees it.
- `date(text)` reads ISO 8601 (UTC without an offset), `now()` is the moment of the evaluation.
  A date less a date is a duration; dates and durations add, durations scale and divide; a date has
  `.year .month .day .hour .minute .second .isoweekday()`, a duration `.total_seconds()`.
  `format_date(date, "%d.%m.%Y", "Europe/Berlin")` writes one. As a result, a date is ISO 8601
  (`2026-03-01T09:30:00Z`) and a duration too (`PT1H30M`).
- `regex_match(pattern, text)` says whether RE2's pattern fits at the beginning, `regex_search`
  whether it fits anywhere; a third value, a group's number or name, asks for what it took (null
  when nothing fits).

A scope is any mapping. It is neither copied nor walked: only what the source names is read. Lazy
mappings may hold lazy mappings; what a plain object of the scope holds in its second level and
below is plain JSON.
A result may be part of the scope itself, so treat it as read-only.
"""

from workflows.definition.expressions.errors import ExpressionError
from workflows.definition.expressions.expression import Expression, compile_expression

__all__ = ["Expression", "ExpressionError", "compile_expression"]
