"""Compiled definitions, kept in memory by content: compiling costs milliseconds, running must not.

A worker asks `cached` on its event loop, which never touches the database, and calls
`compiled_version` in a thread when the answer is None.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from autopilot.common.errors import NotFound
from workflows.definition.compiled import CompiledDefinition, compile_definition
from workflows.models import WorkflowVersion
from workflows.versioning.states import VersionState

MAX_DEFINITIONS = 1_000
MAX_VERSIONS = 10_000


class CompiledCache:
    """The definitions used last, by content hash, and the hashes of frozen versions, by id.

    Bounded and safe to use from several threads. Drafts change, so their ids are never kept.
    """

    def __init__(
        self, *, max_definitions: int = MAX_DEFINITIONS, max_versions: int = MAX_VERSIONS
    ) -> None:
        self._max_definitions = max_definitions
        self._max_versions = max_versions
        self._definitions: OrderedDict[str, CompiledDefinition] = OrderedDict()
        self._hashes: OrderedDict[int, str] = OrderedDict()
        # Held for a few dictionary operations only, never while something is read or compiled.
        self._lock = threading.Lock()

    def get(self, version_id: int) -> CompiledDefinition | None:
        """What is in memory for this version; never blocks on anything outside of it."""
        with self._lock:
            content_hash = self._hashes.get(version_id)
            if content_hash is None:
                return None
            self._hashes.move_to_end(version_id)
            return self._by_hash(content_hash)

    def load(self, version_id: int) -> CompiledDefinition:
        """The compiled version; one query when it isn't in memory.

        Raises NotFound when there is no such version, DefinitionError when this release can't run
        what an earlier one stored.
        """
        known = self.get(version_id)
        if known is not None:
            return known
        row = (
            WorkflowVersion.objects.filter(pk=version_id)
            .values("definition", "content_hash", "state")
            .first()
        )
        if row is None:
            raise NotFound(f"There is no workflow version with the id {version_id}.")
        content_hash = row["content_hash"]
        with self._lock:
            compiled = self._by_hash(content_hash)
        if compiled is None:
            # Two threads may compile the same definition at once: wasteful, rare, harmless.
            compiled = compile_definition(row["definition"])
        with self._lock:
            self._keep(content_hash, compiled)
            if row["state"] != VersionState.DRAFT:
                self._hashes[version_id] = content_hash
                if len(self._hashes) > self._max_versions:
                    self._hashes.popitem(last=False)
        return compiled

    def clear(self) -> None:
        with self._lock:
            self._definitions.clear()
            self._hashes.clear()

    def _by_hash(self, content_hash: str) -> CompiledDefinition | None:
        compiled = self._definitions.get(content_hash)
        if compiled is not None:
            self._definitions.move_to_end(content_hash)
        return compiled

    def _keep(self, content_hash: str, compiled: CompiledDefinition) -> None:
        self._definitions[content_hash] = compiled
        self._definitions.move_to_end(content_hash)
        if len(self._definitions) > self._max_definitions:
            self._definitions.popitem(last=False)


cache = CompiledCache()
cached = cache.get
compiled_version = cache.load
