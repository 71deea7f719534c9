"""How a workflow is doing, in a sentence."""

from __future__ import annotations

from autopilot.common.words import plural
from workflows.console.panels import Activity
from workflows.models import WorkflowVersion


def health_sentence(
    live: WorkflowVersion | None, draft: WorkflowVersion | None, activity: Activity
) -> str:
    """The answer to: is it healthy, and which version is live?"""
    if live is None:
        if draft is not None:
            return f"Nothing is live yet: version {draft.version} is a draft. Publish it to run it."
        return "Nothing is live yet: write a first version."
    return f"Version {live.version} is live. {_activity_sentence(activity)}"


def _activity_sentence(activity: Activity) -> str:
    counts, total = activity.counts, activity.total
    if not total:
        return "Nothing ran in the last 24 hours."
    which = "the newest " if activity.is_capped else ""
    all_of_them = f"{which}{plural(total, 'execution')} of the last 24 hours"
    failed = counts.get("failed", 0)
    completed = counts.get("completed", 0)
    under_way = total - failed - completed - counts.get("cancelled", 0)
    if failed == total:
        return f"All of {all_of_them} failed." if total > 1 else "Its only execution today failed."
    if failed:
        return f"{failed:,} of {all_of_them} failed."
    if under_way:
        return f"No failure in {all_of_them}; {under_way:,} under way."
    if completed == total:
        return (
            f"All of {all_of_them} completed."
            if total > 1
            else f"{plural(total, 'execution')} of the last 24 hours, completed."
        )
    return f"No failure in {all_of_them}."
