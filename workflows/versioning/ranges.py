"""Ranges of semantic versions, as npm means them: `^1.2`, `~1.2.3`, `1.x`, `>=1 <2`, `1 - 2`.

A range is a list of alternatives, each a list of comparisons that all have to hold. A version with
a pre-release is only in a range that names a pre-release of the same three numbers.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from workflows.versioning.semver import MAX_NUMBER, Version, VersionError, parse

MAX_LENGTH = 256

_COMPARE: dict[str, Callable[[Version, Version], bool]] = {
    "": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}

_IDS = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_PART = r"(0|[1-9][0-9]*|[xX*])"
# What may stand where a version is expected: parts may be left out or be `x`.
_PARTIAL = rf"[v=\s]*{_PART}(?:\.{_PART}(?:\.{_PART})?)?(-{_IDS})?(?:\+{_IDS})?"
_HYPHEN = re.compile(rf"\s*{_PARTIAL}\s+-\s+{_PARTIAL}\s*", re.ASCII)
_TERM = re.compile(rf"\s*(~>?|\^|[<>]=?|=?)\s*{_PARTIAL}(?=\s|$)", re.ASCII)


class RangeError(ValueError):
    """The text is not a range of versions; the message is a sentence for people."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One bound; the operator `""` means exactly this version."""

    operator: str
    version: Version

    def __str__(self) -> str:
        return f"{self.operator}{self.version}"

    def holds(self, version: Version) -> bool:
        return _COMPARE[self.operator](version, self.version)


_NOTHING = Comparison("<", Version(0, 0, 0, (0,)))


@dataclass(frozen=True, slots=True)
class Range:
    """The alternatives of a range; one without comparisons holds every release.

    text: as it was written.
    """

    alternatives: tuple[tuple[Comparison, ...], ...]
    text: str = field(default="", compare=False)

    def __str__(self) -> str:
        return "||".join(" ".join(map(str, each)) or "*" for each in self.alternatives)

    def __contains__(self, version: Version) -> bool:
        return any(_holds(each, version) for each in self.alternatives)

    @property
    def exact(self) -> Version | None:
        """The only version that it names, if it names just one."""
        if len(self.alternatives) == 1 and len(self.alternatives[0]) == 1:
            only = self.alternatives[0][0]
            return only.version if only.operator == "" else None
        return None

    def highest(self, versions: Iterable[Version]) -> Version | None:
        """The highest of these that is in the range."""
        return max((each for each in versions if each in self), default=None)


def _holds(comparisons: tuple[Comparison, ...], version: Version) -> bool:
    if not all(each.holds(version) for each in comparisons):
        return False
    if not version.pre:
        return True
    return any(each.version.pre and each.version.numbers == version.numbers for each in comparisons)


def parse_range(text: object) -> Range:
    """Read a range; an empty text is any release.

    Raises RangeError for anything else: another type, more than 256 characters, a part that is no
    range, a number above 2**53 - 1.
    """
    if not isinstance(text, str):
        raise RangeError("A range of versions is a text such as ^1.2.")
    if len(text) > MAX_LENGTH:
        raise RangeError(f"A range of versions has at most {MAX_LENGTH} characters.")
    found = [_alternative(each) for each in text.split("||")]
    if () in found:
        return Range(((),), text)
    some = [each for each in found if _NOTHING not in each]
    return Range(tuple(some) or ((_NOTHING,),), text)


@dataclass(frozen=True, slots=True)
class _Partial:
    """A version of which the last parts may be open (None)."""

    major: int | None
    minor: int | None
    patch: int | None
    pre: str

    def low(self) -> Version:
        """The lowest version that it stands for."""
        text = f"{self.major or 0}.{self.minor or 0}.{self.patch or 0}"
        return _version(text + (self.pre if self.patch is not None else ""))

    def above(self, place: int) -> Version:
        """What lies just above all that share its first parts, up to and with `place`."""
        parts = [self.major or 0, self.minor or 0, self.patch or 0]
        numbers = [*parts[:place], parts[place] + 1, 0, 0][:3]
        return _version(".".join(map(str, numbers)) + "-0")

    @property
    def open_at(self) -> int:
        """The place of its first open part; 3 if there is none."""
        parts = (self.major, self.minor, self.patch)
        return parts.index(None) if None in parts else 3


def _version(text: str) -> Version:
    try:
        return parse(text)
    except VersionError as error:
        raise RangeError(str(error)) from None


def _partial(groups: Iterable[str | None]) -> _Partial:
    *parts, pre = groups
    numbers = [None if part is None or part in "xX*" else int(part) for part in parts]
    given = [part is not None and part not in "xX*" for part in parts]
    if given != sorted(given, reverse=True):
        raise RangeError("After an open part, such as x, no number may follow: 1.x.5 is no range.")
    if any(number is not None and number > MAX_NUMBER for number in numbers):
        raise RangeError(f"A number in the range is larger than {MAX_NUMBER}.")
    major, minor, patch = numbers
    return _Partial(major, minor, patch, pre or "")


def _alternative(text: str) -> tuple[Comparison, ...]:
    hyphen = _HYPHEN.fullmatch(text)
    if hyphen is not None:
        groups = hyphen.groups()
        found = [*_from(_partial(groups[:4])), *_to(_partial(groups[4:]))]
    else:
        found = [each for term in _terms(text) for each in term]
    if _NOTHING in found:
        return (_NOTHING,)
    zero = Comparison(">=", Version(0, 0, 0))
    return tuple(dict.fromkeys(each for each in found if str(each) != str(zero)))


def _terms(text: str) -> Iterator[list[Comparison]]:
    rest = text.rstrip()
    position = 0
    while position < len(rest):
        match = _TERM.match(rest, position)
        if match is None:
            raise RangeError(
                f"{text.strip()!r} is no range of versions: something such as ^1.2, ~1.2.3, 1.x, "
                ">=1.2 <3 or 1.2.3 was expected."
            )
        sign, *groups = match.groups()
        yield _READ[sign](_partial(groups))
        position = match.end()


def _from(low: _Partial) -> list[Comparison]:
    return [] if low.open_at == 0 else [Comparison(">=", low.low())]


def _to(high: _Partial) -> list[Comparison]:
    place = high.open_at
    if place == 0:
        return []
    if place < 3:
        return [Comparison("<", high.above(place - 1))]
    return [Comparison("<=", high.low())]


def _between(partial: _Partial, place: int) -> list[Comparison]:
    """From its lowest version up to the next step of the part at `place`."""
    return [*_from(partial), Comparison("<", partial.above(place))]


def _caret(partial: _Partial) -> list[Comparison]:
    """What may not break: the first part that isn't zero stays."""
    place = partial.open_at
    if place == 0:
        return []
    parts = (partial.major, partial.minor, partial.patch)[:place]
    fixed = next((at for at, number in enumerate(parts) if number), place - 1)
    return _between(partial, fixed)


def _tilde(partial: _Partial) -> list[Comparison]:
    """Patches only; minor versions too if only the first part is given."""
    place = partial.open_at
    return [] if place == 0 else _between(partial, min(place - 1, 1))


def _plain(partial: _Partial) -> list[Comparison]:
    place = partial.open_at
    if place == 0:
        return []
    if place < 3:
        return _between(partial, place - 1)
    return [Comparison("", partial.low())]


def _over(partial: _Partial) -> list[Comparison]:
    place = partial.open_at
    if place == 0:
        return [_NOTHING]
    if place < 3:
        above = partial.above(place - 1)
        return [Comparison(">=", Version(*above.numbers))]
    return [Comparison(">", partial.low())]


def _under(partial: _Partial) -> list[Comparison]:
    place = partial.open_at
    if place == 0:
        return [_NOTHING]
    if place < 3:
        return [Comparison("<", Version(*partial.low().numbers, pre=(0,)))]
    return [Comparison("<", partial.low())]


_READ: dict[str, Callable[[_Partial], list[Comparison]]] = {
    "": _plain,
    "=": _plain,
    "^": _caret,
    "~": _tilde,
    "~>": _tilde,
    ">": _over,
    "<": _under,
    ">=": _from,
    "<=": _to,
}
