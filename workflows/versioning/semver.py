"""Semantic versions as https://semver.org/spec/v2.0.0.html defines them: strict, no leading `v`.

Workflow versions are *releases* (`MAJOR.MINOR.PATCH`, see `parse_release`); pre-release precedence
is here because every ordering rule of the specification belongs in one place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering

MAX_LENGTH = 256
# The largest integer that every JSON reader keeps exactly (2**53 - 1); it fits a bigint column too.
MAX_NUMBER = 9_007_199_254_740_991

_NUMBER = r"(0|[1-9][0-9]*)"
_PRE_PART = r"(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_PATTERN = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}"
    rf"(?:-({_PRE_PART}(?:\.{_PRE_PART})*))?"
    r"(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?",
    re.ASCII,
)

PreRelease = tuple[int | str, ...]


class VersionError(ValueError):
    """The text is not a semantic version; the message is a sentence for people."""


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """One semantic version; order, equality and hash go by precedence, without build metadata."""

    major: int
    minor: int
    patch: int
    pre: PreRelease = ()
    build: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{self.major}.{self.minor}.{self.patch}"
        if self.pre:
            text += "-" + ".".join(str(part) for part in self.pre)
        if self.build:
            text += "+" + ".".join(self.build)
        return text

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Version):
            return NotImplemented
        return self._precedence == other._precedence

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Version):
            return NotImplemented
        return self._precedence < other._precedence

    def __hash__(self) -> int:
        return hash(self._precedence)

    @property
    def _precedence(self) -> tuple[int, int, int, bool, tuple[tuple[int, int, str], ...]]:
        # Section 11: a release is above its pre-releases; numbers are below words; a longer list of
        # equal parts is higher, which is how tuples compare anyway.
        parts = tuple((0, part, "") if isinstance(part, int) else (1, 0, part) for part in self.pre)
        return self.major, self.minor, self.patch, not self.pre, parts

    @property
    def numbers(self) -> tuple[int, int, int]:
        return self.major, self.minor, self.patch

    def bump_major(self) -> Version:
        """The next release that may break its callers: of 2.0.0-rc that is 2.0.0."""
        ahead = self.pre and not self.minor and not self.patch
        return Version(self.major if ahead else self.major + 1, 0, 0)

    def bump_minor(self) -> Version:
        """The next release that adds something: of 1.2.0-rc that is 1.2.0."""
        ahead = self.pre and not self.patch
        return Version(self.major, self.minor if ahead else self.minor + 1, 0)

    def bump_patch(self) -> Version:
        """The next release that changes texts only: of 1.2.3-rc that is 1.2.3."""
        return Version(self.major, self.minor, self.patch if self.pre else self.patch + 1)


def parse(text: object) -> Version:
    """Read one version strictly.

    Raises VersionError for anything else: another type, a leading `v`, leading zeros, surrounding
    spaces, more than 256 characters, or a number above 2**53 - 1.
    """
    if not isinstance(text, str):
        raise VersionError("A version is a text such as 1.2.3.")
    if len(text) > MAX_LENGTH:
        raise VersionError(f"A version has at most {MAX_LENGTH} characters.")
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise VersionError(
            f"{text!r} is not a semantic version: MAJOR.MINOR.PATCH such as 1.2.3 was expected."
        )
    major, minor, patch = (_number(part) for part in match.group(1, 2, 3))
    pre: PreRelease = ()
    if match.group(4):
        pre = tuple(_number(part) if part.isdigit() else part for part in match.group(4).split("."))
    build = tuple(match.group(5).split(".")) if match.group(5) else ()
    return Version(major, minor, patch, pre, build)


def parse_release(text: object) -> Version:
    """Read a version that is only MAJOR.MINOR.PATCH; raises VersionError for anything else."""
    version = parse(text)
    if version.pre or version.build:
        raise VersionError(
            f"{text!r} carries a pre-release or build label: a workflow version is only "
            "MAJOR.MINOR.PATCH such as 1.2.3."
        )
    return version


def _number(text: str) -> int:
    number = int(text)
    if number > MAX_NUMBER:
        raise VersionError(f"The number {text} in a version is larger than {MAX_NUMBER}.")
    return number
