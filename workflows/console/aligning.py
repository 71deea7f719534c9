"""Which lines or words of two texts belong together, in a time that grows with their length.

The standard library's matcher alone takes minutes for two large texts that were made for it, and
texts come from anybody who may write definitions.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import pairwise

# A place in the old text, and the one in the new text that is alike.
Pair = tuple[int, int]

# Up to so many, both together, the matcher is quick whatever they say.
SMALL = 1_000
# Between what occurs once there may be more that occurs once; real texts end after two or three.
MAX_DEPTH = 8


def aligned(old: Sequence[str], new: Sequence[str]) -> list[Pair]:
    """What stayed, in order: no two pairs cross.

    Parts are held by what occurs once in both; the rest between them is matched if it is small,
    and otherwise counts as changed.
    """
    found: list[Pair] = []
    waiting = [(0, len(old), 0, len(new), 0)]
    while waiting:
        i1, i2, j1, j2, depth = waiting.pop()
        while i1 < i2 and j1 < j2 and old[i1] == new[j1]:
            found.append((i1, j1))
            i1, j1 = i1 + 1, j1 + 1
        while i1 < i2 and j1 < j2 and old[i2 - 1] == new[j2 - 1]:
            i2, j2 = i2 - 1, j2 - 1
            found.append((i2, j2))
        if i1 == i2 or j1 == j2:
            continue
        anchors = _anchors(old[i1:i2], new[j1:j2]) if depth < MAX_DEPTH else []
        if anchors:
            found += [(i1 + i, j1 + j) for i, j in anchors]
            ends = [(-1, -1), *anchors, (i2 - i1, j2 - j1)]
            for (a, b), (c, d) in pairwise(ends):
                waiting.append((i1 + a + 1, i1 + c, j1 + b + 1, j1 + d, depth + 1))
        elif i2 - i1 + j2 - j1 <= SMALL:
            found += [(i1 + i, j1 + j) for i, j in _matched(old[i1:i2], new[j1:j2])]
    return sorted(found)


def _anchors(old: Sequence[str], new: Sequence[str]) -> list[Pair]:
    """What occurs once in both: the most of it that is in the same order."""
    before, after = Counter(old), Counter(new)
    places = {text: at for at, text in enumerate(new) if after[text] == 1}
    once = [
        (at, places[text]) for at, text in enumerate(old) if before[text] == 1 and text in places
    ]
    # The longest rising row of places: the last one of each length, and what stood before each.
    tops: list[int] = []
    last: list[int] = []
    previous: list[int] = []
    for index, (_, place) in enumerate(once):
        length = bisect_left(tops, place)
        previous.append(last[length - 1] if length else -1)
        if length == len(tops):
            tops.append(place)
            last.append(index)
        else:
            tops[length], last[length] = place, index
    row: list[Pair] = []
    index = last[-1] if last else -1
    while index >= 0:
        row.append(once[index])
        index = previous[index]
    return row[::-1]


def _matched(old: Sequence[str], new: Sequence[str]) -> list[Pair]:
    blocks = SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    return [(i + at, j + at) for i, j, size in blocks for at in range(size)]
