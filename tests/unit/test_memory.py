"""What is loaded for good is none of the collector's business."""

from __future__ import annotations

import gc

from autopilot.common.memory import keep_what_is_loaded


def test_the_collector_looks_at_new_objects_only() -> None:
    before = gc.get_freeze_count()
    kept = [[] for _ in range(1_000)]
    try:
        keep_what_is_loaded()
        assert gc.get_freeze_count() >= before + len(kept)
        # What comes afterwards is still collected.
        circle: list[object] = []
        circle.append(circle)
        del circle
        assert gc.collect() >= 1
    finally:
        gc.unfreeze()
