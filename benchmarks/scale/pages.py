"""What W7 looks at, by the name that the report gives it."""

from __future__ import annotations

_API, _CONSOLE = "/api/v1/executions/", "/admin/executions/execution/"

# The same customer and region are there in both databases, rare and common.
PAGES = {
    "api_list": f"{_API}?page_size=50",
    "api_failed": f"{_API}?state=failed",
    "api_waiting_or_paused": f"{_API}?state=waiting&state=paused",
    "api_workflow": f"{_API}?workflow=handle-refunds-2",
    "api_workflow_failed": f"{_API}?workflow=handle-refunds-2&state=failed&page_size=10",
    "api_paused": f"{_API}?state=paused",
    "api_error_code": f"{_API}?error_code=http.429",
    "api_created_after": (
        f"{_API}?created_after=2020-01-01T00:00:00Z&created_before=2090-01-01T00:00:00Z"
    ),
    "api_label_rare": f"{_API}?label=campaign:spring",
    "api_label_common": f"{_API}?label=region:north",
    "api_label_none": f"{_API}?label=customer:nobody",
    "api_label_key": f"{_API}?label=campaign",
    "api_correlation": f"{_API}?correlation_id=order-77",
    "api_search_order": f"{_API}?search=order-77",
    "api_search_workflow": f"{_API}?search=refunds",
    "api_search_error": f"{_API}?search=http.4",
    "api_search_nothing": f"{_API}?search=nothing-like-this",
    "api_slot_key": f"{_API}?concurrency_key=a7&page_size=2",
    "api_one": f"{_API}{{failed}}/",
    "console_list": _CONSOLE,
    "console_failed": f"{_CONSOLE}?state=failed",
    "console_workflow": f"{_CONSOLE}?workflow=handle-refunds-2",
    "console_span": f"{_CONSOLE}?span=24h",
    "console_error": f"{_CONSOLE}?error=http.429",
    "console_label_rare": f"{_CONSOLE}?label=campaign=spring",
    "console_label_common": f"{_CONSOLE}?label=region=north",
    "console_search_order": f"{_CONSOLE}?q=order-77",
    "console_search_workflow": f"{_CONSOLE}?q=refunds",
    "console_search_error": f"{_CONSOLE}?q=http.4",
    "console_search_nothing": f"{_CONSOLE}?q=nothing-like-this",
    "console_workflows": "/admin/workflows/workflow/",
    "console_completed_page": f"{_CONSOLE}{{completed}}/",
    "console_timer_page": f"{_CONSOLE}{{timer}}/",
    "home": "/admin/",
    "approvals": "/admin/executions/approval/",
    "api_queues": "/api/v1/monitoring/queues/",
}
