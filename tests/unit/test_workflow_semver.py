from __future__ import annotations

import json
from pathlib import Path

import pytest

from workflows.versioning import semver

DATA = Path(__file__).resolve().parent.parent / "data" / "semver"


def rows(name: str) -> list[list]:
    """The rows of a fixture that speak about strict parsing (see the README beside it)."""
    every = json.loads((DATA / name).read_text(encoding="utf-8"))
    return [row for row in every if not is_loose(row)]


def is_loose(row: list) -> bool:
    option = row[-1]
    if option is True or (isinstance(option, dict) and option.get("loose") is True):
        return True
    # node-semver's strict mode still takes surrounding spaces and a leading `v`; the spec doesn't.
    return isinstance(row[0], str) and row[0].strip().startswith("v")


STRICT_VALID = rows("valid-versions.json")


@pytest.mark.parametrize("row", STRICT_VALID, ids=lambda row: row[0])
def test_a_valid_version_is_read_into_its_parts(row: list) -> None:
    text, major, minor, patch, pre, build = row
    version = semver.parse(text)
    assert version.numbers == (major, minor, patch)
    assert version.pre == tuple(pre)
    assert version.build == tuple(build)
    assert str(version) == text


def test_the_fixture_of_valid_versions_is_not_empty() -> None:
    assert len(STRICT_VALID) > 10


@pytest.mark.parametrize("text", ["v1.2.3", "=1.2.3", " 1.2.3", "1.2.3 ", "1.2.3\n", "1.2", "1"])
def test_what_only_loose_readers_accept_is_refused(text: str) -> None:
    with pytest.raises(semver.VersionError) as caught:
        semver.parse(text)
    assert str(caught.value) == (
        f"{text!r} is not a semantic version: MAJOR.MINOR.PATCH such as 1.2.3 was expected."
    )


@pytest.mark.parametrize("row", rows("invalid-versions.json"), ids=lambda row: str(row[1]))
def test_an_invalid_version_is_refused(row: list) -> None:
    with pytest.raises(semver.VersionError):
        semver.parse(row[0])


@pytest.mark.parametrize(
    "text", ["01.2.3", "1.02.3", "1.2.03", "1.2.3-01", "1.2.3-", "1.2.3+", "\u0661.2.3"]
)
def test_leading_zeros_empty_labels_and_foreign_digits_are_refused(text: str) -> None:
    with pytest.raises(semver.VersionError):
        semver.parse(text)


@pytest.mark.parametrize("row", rows("comparisons.json"), ids=lambda row: f"{row[0]}>{row[1]}")
def test_the_first_is_higher_than_the_second(row: list) -> None:
    higher, lower = semver.parse(row[0]), semver.parse(row[1])
    assert higher > lower
    assert lower < higher
    assert higher != lower


@pytest.mark.parametrize("row", rows("equality.json"), ids=lambda row: f"{row[0]}={row[1]}")
def test_equal_by_precedence(row: list) -> None:
    assert semver.parse(row[0]) == semver.parse(row[1])


def test_build_metadata_does_not_count() -> None:
    assert semver.parse("1.2.3+a") == semver.parse("1.2.3+b")
    assert len({semver.parse("1.2.3+a"), semver.parse("1.2.3+b")}) == 1


def test_the_example_of_the_specification_is_in_order() -> None:
    texts = [
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
    ]
    assert sorted(set(texts), key=semver.parse) == texts


def test_bumps_reset_what_is_below() -> None:
    version = semver.parse("1.2.3-rc.1")
    assert [str(v) for v in (version.bump_major(), version.bump_minor(), version.bump_patch())] == [
        "2.0.0",
        "1.3.0",
        "1.2.3",
    ]


def increments() -> list[list]:
    """Those that lead to a release: nothing here makes pre-releases."""
    every = json.loads((DATA / "increments.json").read_text(encoding="utf-8"))
    return [row for row in every if row[1] in BUMPS and (len(row) < 4 or row[3] is not True)]


BUMPS = {
    "major": semver.Version.bump_major,
    "minor": semver.Version.bump_minor,
    "patch": semver.Version.bump_patch,
}


def test_the_fixture_of_increments_is_not_empty() -> None:
    assert len(increments()) > 20


@pytest.mark.parametrize("row", increments(), ids=str)
def test_the_next_release(row: list) -> None:
    text, bump, expected = row[:3]
    if expected is None:
        with pytest.raises(semver.VersionError):
            semver.parse(text)
    else:
        assert str(BUMPS[bump](semver.parse(text))) == expected


def test_a_release_has_no_labels() -> None:
    assert semver.parse_release("1.2.3").numbers == (1, 2, 3)
    with pytest.raises(semver.VersionError) as caught:
        semver.parse_release("1.2.3-rc.1")
    assert str(caught.value) == (
        "'1.2.3-rc.1' carries a pre-release or build label: a workflow version is only "
        "MAJOR.MINOR.PATCH such as 1.2.3."
    )


@pytest.mark.parametrize("value", [None, 1, 1.2, ["1.2.3"], True])
def test_another_type_is_refused(value: object) -> None:
    with pytest.raises(semver.VersionError, match=r"^A version is a text such as 1\.2\.3\.$"):
        semver.parse(value)
