"""How the place of a value in a JSON document is written: `$.steps[2].name`, `$["odd key"]`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

ROOT = "$"
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")


def child(path: str, key: str | int) -> str:
    """The path of the member `key` (an object's key or an array's index) of the value at `path`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    # Anything but a plain name is quoted and escaped, so that a path can always be printed.
    return f"{path}.{key}" if _PLAIN.match(key) else f"{path}[{json.dumps(key)}]"


def join(keys: Iterable[str | int]) -> str:
    """The path that leads from the document's root through `keys`."""
    path = ROOT
    for key in keys:
        path = child(path, key)
    return path
