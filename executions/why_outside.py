"""What a step waits for that waits for news from outside, in words: a function for each kind.

`situations.OUTSIDE` gathers what they are made from.
"""

from __future__ import annotations

from executions.engine.states import Reason
from executions.phrases import Ago, Strong, say
from executions.why_facts import Facts, Why, at_step, iso, lasting
from executions.why_waits import OUTSIDE, something


def _signal(facts: Facts) -> Why:
    if "name" not in facts.outside:
        return something(facts)  # it has ended between two reads
    correlation = facts.outside.get("correlation", "")
    phrase = say(
        "Waits at step {step} for the signal {name}{correlation}{since}{until}.",
        step=facts.place,
        name=Strong(facts.outside["name"]),
        correlation=say(" with correlation {it}", it=Strong(correlation))
        if correlation
        else " sent to this execution",
        since=lasting(facts.current_since),
        until=say(", and gives up {when}", when=Ago(facts.wait_until)) if facts.wait_until else "",
    )
    details = {
        **at_step(facts),
        "signal": facts.outside["name"],
        "correlation": correlation,
        "since": iso(facts.current_since),
        "until": iso(facts.wait_until),
    }
    return Why("signal", phrase, details)


def _callback(facts: Facts) -> Why:
    known = facts.outside
    queue = known.get("queue", "")
    details = {
        **at_step(facts),
        "since": iso(facts.current_since),
        "until": iso(facts.wait_until),
        "heard_at": iso(known.get("heard_at")),
        **({"queue": queue, "leases": known["leases"]} if queue else {}),
    }
    until = say(", and gives up {when}", when=Ago(facts.wait_until)) if facts.wait_until else ""
    if not queue:
        phrase = say(
            "Waits at step {step} to be told how its call has ended{since}{until}.",
            step=facts.place,
            since=lasting(facts.current_since),
            until=until,
        )
        return Why("callback", phrase, details)
    taken_until = known.get("taken_until")
    if taken_until is not None and taken_until > facts.now:
        phrase = say(
            "Waits at step {step} for its task in the queue {queue}, which was given to {worker}; "
            "unless heard of, it is free again {when}{until}.",
            step=facts.place,
            queue=Strong(queue),
            worker=known["worker"],
            when=Ago(taken_until),
            until=until,
        )
        return Why("task.taken", phrase, {**details, "worker": known["worker"]})
    phrase = say(
        "Waits at step {step} for somebody to take its task off the queue {queue}{since}{until}.",
        step=facts.place,
        queue=Strong(queue),
        since=lasting(facts.current_since),
        until=until,
    )
    return Why("task.queued", phrase, details)


OUTSIDE[Reason.SIGNAL.value] = _signal
OUTSIDE[Reason.CALLBACK.value] = _callback
