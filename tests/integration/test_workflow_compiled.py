from __future__ import annotations

from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from autopilot.accounts.actors import Actor
from autopilot.common.errors import NotFound
from tests.factories import DraftFactory, VersionFactory, document
from workflows import services
from workflows.compiled import CompiledCache

pytestmark = pytest.mark.django_db


def test_a_published_version_is_read_once(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    version = VersionFactory()
    cache = CompiledCache()
    assert cache.get(version.pk) is None
    with django_assert_num_queries(1):
        compiled = cache.load(version.pk)
    with django_assert_num_queries(0):
        assert cache.load(version.pk) is compiled
        assert cache.get(version.pk) is compiled
    assert list(compiled.steps) == ["step_1"]


def test_equal_content_is_compiled_once() -> None:
    cache = CompiledCache()
    same = document()
    first, second = VersionFactory(document=same), VersionFactory(document=same)
    assert first.workflow_id != second.workflow_id
    assert cache.load(first.pk) is cache.load(second.pk)


def test_a_draft_is_read_anew_because_it_changes() -> None:
    cache = CompiledCache()
    draft = DraftFactory()
    before = cache.load(draft.pk)
    assert cache.get(draft.pk) is None
    services.update_draft(
        actor=Actor.system("tests"), version=draft, document=document(output="done")
    )
    assert before.output is None
    assert cache.load(draft.pk).output is not None


def test_the_cache_forgets_what_was_not_used_for_longest() -> None:
    cache = CompiledCache(max_definitions=2)

    def version(output: str) -> Any:
        return VersionFactory(document=document(output=output)).pk

    a, b, c = version("a"), version("b"), version("c")
    for pk in (a, b, a, c):
        cache.load(pk)
    assert cache.get(a) is not None
    assert cache.get(b) is None
    assert cache.get(c) is not None
    assert cache.load(b) is not None


def test_a_version_that_is_not_there() -> None:
    with pytest.raises(NotFound) as caught:
        CompiledCache().load(4711)
    assert caught.value.message == "There is no workflow version with the id 4711."
