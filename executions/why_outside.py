"""What a step waits for that waits for news from outside, in words: a function for each kind.

`situations.OUTSIDE` gathers what they are made from.
"""

from __future__ import annotations

from executions.engine.states import Reason
from executions.phrases import Ago, Strong, say
from executions.why import OUTSIDE, Facts, Why, at_step, iso, lasting, something


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


OUTSIDE[Reason.SIGNAL.value] = _signal
