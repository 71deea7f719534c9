"""What is kept of steps that wait for news from outside: statements by kind, one set at a time.

They run in the transaction of the checkpoint in which waits begin or end, after the rows of the
executions are written, and under their locks.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OutsideSql:
    """Three statements, each with the parameter `rows`, a JSON list; each ends with a semicolon.

    Objects in it have `execution`, `step`, `seq` and `attempt`. opens: and `data`, as the command
    `Open` has it. closes: and `outcome`, one of `commands.Closing`; a wait that is not there any
    more is no error. rejects: and `data` and `reason`.
    """

    opens: str
    closes: str
    rejects: str = ""


# By the name of the kind, as in `engine.outside.Kind`.
KINDS: dict[str, OutsideSql] = {}
