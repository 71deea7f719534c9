"""A process that submits executions as fast as it can, when it is told to.

    python -m benchmarks.submit WORKFLOW COUNT BATCH

BATCH: executions per call of `start_many`, one transaction each; 1 = one by one by
`start_execution`. It says "ready" when everything is imported and connected, reads one line,
submits, and says as JSON when it began and ended (seconds of the system's clock) and the seconds of
CPU it took.
"""

from __future__ import annotations

import json
import sys
import time

import django


def main() -> None:
    workflow_id, count, batch = (int(each) for each in sys.argv[1:4])
    django.setup()
    from django.db import connection

    from autopilot.accounts.actors import Actor
    from benchmarks.workload import ACTOR
    from executions.bulk_start import start_many
    from executions.runtime import dispatch
    from executions.services import start_execution
    from workflows.compiled import compiled_version
    from workflows.models import Workflow

    actor = Actor.system(ACTOR)
    workflow = Workflow.objects.get(pk=workflow_id)
    connection.ensure_connection()
    dispatch.is_reachable()
    compiled_version(workflow.versions.get().pk)
    print("ready", flush=True)
    sys.stdin.readline()
    began, cpu = time.time(), time.process_time()
    left = count
    while left:
        size = min(batch, left)
        if size == 1:
            start_execution(workflow=workflow, actor=actor)
        else:
            start_many(workflow=workflow, actor=actor, requests=[{}] * size)
        left -= size
    report = {"began": began, "ended": time.time(), "cpu": time.process_time() - cpu}
    print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main()
