"""The ledger's hot statements, parsed once for a connection instead of at every batch.

Parsing and planning cost more than half of what a small batch costs PostgreSQL. The statements of
every checkpoint are planned once too. A plan that is kept must still be right when the tables are a
thousand times as large as they were when it was made, so while it is made the planner is left
little choice: rows of executions are found by their ids and joined with the batch by hashing. On
new tables that is through the key; on small ones that were used already another index that has the
id may seem as good, until PostgreSQL has analysed the tables again and plans anew. What has a
choice (claims, children) is planned every time, as it always was.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from psycopg2 import errors as pg

from executions.runtime import children_sql, statements

_PARAMETER = re.compile(r"%\((\w+)\)s")

# PostgreSQL plans anew after an ANALYZE, so these hold whenever a kept statement is executed.
KEPT = """BEGIN; SET LOCAL lock_timeout = '1s'; SET LOCAL plan_cache_mode = force_generic_plan;
SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off;
SET LOCAL enable_nestloop = off; SET LOCAL enable_mergejoin = off;
"""
PLANNED = """SET LOCAL plan_cache_mode = force_custom_plan;
SET LOCAL enable_seqscan = on; SET LOCAL enable_bitmapscan = on;
SET LOCAL enable_nestloop = on; SET LOCAL enable_mergejoin = on;
"""

# What an ALTER TABLE or a DISCARD ALL behind our back leaves of prepared statements: they are
# refused before anything is written, and a new connection has them anew.
STALE = (pg.InvalidSqlStatementName, pg.FeatureNotSupported)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement with the name it has on the server.

    types: those of its parameters, in the order of their first appearance in `sql`.
    """

    name: str
    sql: str
    types: tuple[str, ...]

    @property
    def definition(self) -> str:
        """The PREPARE."""
        places = {name: f"${number}" for number, name in enumerate(self._names(), start=1)}
        body = _PARAMETER.sub(lambda found: places[found[1]], self.sql).strip().rstrip(";")
        return f"PREPARE {self.name}({', '.join(self.types)}) AS {body};\n"

    @property
    def execute(self) -> str:
        """The EXECUTE, with the parameters by name as in `sql`."""
        given = (
            f"%({name})s::{kind}" for name, kind in zip(self._names(), self.types, strict=True)
        )
        return f"EXECUTE {self.name}({', '.join(given)});\n"

    def _names(self) -> list[str]:
        return list(dict.fromkeys(_PARAMETER.findall(self.sql)))


_LOCK = Prepared("ledger_lock", statements.LOCK, ("bigint[]",))
_FENCE = Prepared("ledger_fence", statements.FENCE, ("bigint[]", "bigint", "json", "bigint"))
_STEPS = Prepared("ledger_steps", statements.INSERT_STEPS, ("json",))
_TRANSITIONS = Prepared("ledger_transitions", statements.INSERT_TRANSITIONS, ("json",))
_LOG = Prepared("ledger_log", statements.INSERT_LOG, ("json",))
_HOP = Prepared("ledger_hop", statements.HOP, ("json", "bigint[]"))
_UPDATE = Prepared("ledger_update", statements.UPDATE, ("json", "bigint[]"))
_COUNT = Prepared("ledger_count", children_sql.COUNT, ("json",))
_REFILL = Prepared("ledger_refill", children_sql.REFILL, ("json",))
_REPORT = Prepared("ledger_report", children_sql.REPORT, ("json",))
_CLAIM = Prepared(
    "ledger_claim",
    statements.CLAIM,
    ("bigint", "text", "int", "int", "int", "int", "int", "int"),
)
_CLAIM_ONE = Prepared("ledger_claim_one", statements.CLAIM_ONE, ("bigint", "bigint", "text", "int"))
_ALL = (
    _LOCK,
    _FENCE,
    _STEPS,
    _TRANSITIONS,
    _LOG,
    _HOP,
    _UPDATE,
    _COUNT,
    _REFILL,
    _REPORT,
    _CLAIM,
    _CLAIM_ONE,
)

LOCK = KEPT + _LOCK.execute
FENCE = KEPT + _FENCE.execute
STEPS = _STEPS.execute
TRANSITIONS = _TRANSITIONS.execute
LOG = _LOG.execute
HOP = _HOP.execute
UPDATE = _UPDATE.execute
ENDED = _COUNT.execute + _REFILL.execute + _REPORT.execute
CLAIM = _CLAIM.execute
# Planned each time: a plan kept from a table of one page would read all of it when it has grown.
CLAIM_ONE = _CLAIM_ONE.execute


def prepare(opened: Any) -> None:
    """Prepare everything on this cursor's connection."""
    definitions = "".join(each.definition for each in _ALL)
    opened.execute("SET plan_cache_mode = force_custom_plan;\n" + definitions)
