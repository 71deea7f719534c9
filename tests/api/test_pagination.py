from __future__ import annotations

import pytest
from django.contrib.auth.models import Group
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from autopilot.common.api.etags import etag_of, require_match
from autopilot.common.api.pagination import Cursor, CursorPagination, PageNumberPagination
from autopilot.common.errors import Invalid, NotFound, PreconditionFailed

pytestmark = pytest.mark.django_db


@pytest.fixture
def groups() -> list[Group]:
    return [Group.objects.create(name=f"group {number}") for number in range(7)]


def page(query: str, *, view: object = None) -> dict:
    address = query if query.startswith("http") else f"http://testserver/list/?{query}"
    paginator = CursorPagination()
    request = Request(APIRequestFactory().get(address))
    rows = paginator.paginate_queryset(Group.objects.all(), request, view)
    body = paginator.get_paginated_response([row.name for row in rows]).data
    return {**body, "results": [int(name.split()[1]) for name in body["results"]]}


def test_pages_follow_each_other_and_lead_back(groups: list[Group]) -> None:
    first = page("page_size=3&state=x")
    assert (first["results"], first["previous"]) == ([6, 5, 4], None)
    assert "state=x" in first["next"]
    second = page(first["next"])
    assert second["results"] == [3, 2, 1]
    third = page(second["next"])
    assert (third["results"], third["next"]) == ([0], None)

    back = page(third["previous"])
    assert back["results"] == [3, 2, 1]
    start = page(back["previous"])
    assert (start["results"], start["previous"]) == ([6, 5, 4], None)
    assert page(start["next"])["results"] == [3, 2, 1]


def test_rows_that_arrive_or_go_do_not_shift_the_pages(groups: list[Group]) -> None:
    first = page("page_size=3")
    Group.objects.create(name="group 7")
    groups[4].delete()
    assert page(first["next"])["results"] == [3, 2, 1]


def test_a_page_costs_one_query_and_no_count(
    groups: list[Group], django_assert_num_queries
) -> None:
    with django_assert_num_queries(1) as queries:
        page("page_size=3")
    assert "COUNT" not in queries.captured_queries[0]["sql"]


def test_a_view_may_order_by_another_unique_number(groups: list[Group]) -> None:
    class View:
        cursor_ordering = "id"

    first = page("page_size=4", view=View())
    assert first["results"] == [0, 1, 2, 3]
    assert page(first["next"], view=View())["results"] == [4, 5, 6]


def test_an_empty_list_has_no_neighbours() -> None:
    assert page("") == {"next": None, "previous": None, "results": []}


def test_a_page_is_never_larger_than_the_most() -> None:
    Group.objects.bulk_create(Group(name=f"group {number}") for number in range(205))
    assert len(page("page_size=100000")["results"]) == 200
    assert len(page("")["results"]) == 50


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "é", "bm9uc2Vuc2U", "WzIsNV0", "WzAsIjUiXQ", "WzAsOTIyMzM3MjAzNjg1NDc3NTgwOF0"],
)
def test_a_cursor_nobody_gave_out_is_refused(cursor: str) -> None:
    with pytest.raises(Invalid) as refused:
        page(f"cursor={cursor}")
    assert [problem.as_dict() for problem in refused.value.details] == [
        {
            "path": "$.cursor",
            "code": "cursor.bad",
            "message": "The cursor is not one this list gave out; start again without it.",
        }
    ]


@pytest.mark.parametrize("size", ["0", "-1", "x", "1.5", "²", "9999999999"])
def test_a_page_size_that_is_no_count_is_refused(size: str) -> None:
    with pytest.raises(Invalid, match="page_size has to be a whole number from 1 to 200"):
        page(f"page_size={size}")


def test_a_cursor_reads_back_what_it_wrote() -> None:
    for cursor in (Cursor(5, backwards=False), Cursor(2**63 - 1, backwards=True)):
        assert Cursor.decode(cursor.encode()) == cursor


def test_a_page_number_beyond_the_end_is_404(groups: list[Group]) -> None:
    request = Request(APIRequestFactory().get("/list/?page=9"))
    with pytest.raises(NotFound, match="There is no page '9' of this list"):
        PageNumberPagination().paginate_queryset(Group.objects.order_by("id"), request)


def test_if_match_lets_through_the_state_that_was_read_only(groups: list[Group]) -> None:
    first, second = groups[:2]

    def asked(header: str | None) -> Request:
        headers = {} if header is None else {"If-Match": header}
        return Request(APIRequestFactory().put("/", headers=headers))

    for header in (None, "*", etag_of(first), f'"other", {etag_of(first)}'):
        require_match(asked(header), first)
    for header in (etag_of(second), '"other"', "W/" + etag_of(first), "nonsense"):
        with pytest.raises(PreconditionFailed):
            require_match(asked(header), first)
