"""Values that triggers store in the state store of an Airflow asset, so that they survive a restart. Triggers reach
neither the task state store nor the database, and XComs of a task are deleted when it is cleared.

The state of an asset stays, and worker and triggerer can both read and write it.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

from airflow.sdk import Asset
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.context import AssetStateStoreAccessor

from aem_guides.hooks.bodies import whole
from aem_guides.protocol.models import JsonValue

NOTES = Asset(name="aem_guides_notes", uri="x-aem-guides-notes://notes")
"""The asset whose state store holds the notes. It is an inlet of the tasks that need it, so that Airflow knows it."""


class Notes(Protocol):
    """A store of JSON values by key, read and written from an event loop."""

    async def aget(self, key: str) -> JsonValue:
        """The value, or None."""

    async def aset(self, key: str, value: JsonValue) -> None:
        """Write a value. It is stored when this returns."""


class Register(Notes, Protocol):
    """A store that tasks can use, too."""

    def get(self, key: str) -> JsonValue:
        """The value, or None."""

    def set(self, key: str, value: JsonValue) -> None:
        """Write a value. It is stored when this returns."""

    def delete(self, key: str) -> None:
        """Delete a key."""

    async def adelete(self, key: str) -> None:
        """Delete a key."""


class AirflowNotes:
    """The notes in Airflow, for triggers (`aget`, `aset`, `adelete`) and tasks (`get`, `set`, `delete`)."""

    def __init__(self) -> None:
        self._store = AssetStateStoreAccessor(name=NOTES.name)

    async def aget(self, key: str) -> JsonValue:
        """The value, or None."""
        return await whole(self._store.aget(key)) if _can_be_awaited() else self.get(key)

    async def aset(self, key: str, value: JsonValue) -> None:
        """Write a value. It is stored when this returns."""
        if _can_be_awaited():
            await whole(self._store.aset(key, value))
        else:
            self.set(key, value)

    def get(self, key: str) -> JsonValue:
        """The value, or None."""
        return self._store.get(key)

    def set(self, key: str, value: JsonValue) -> None:
        """Write a value. It is stored when this returns."""
        self._store.set(key, value)

    def delete(self, key: str) -> None:
        """Delete a key."""
        self._store.delete(key)

    async def adelete(self, key: str) -> None:
        """Delete a key."""
        if _can_be_awaited():
            await whole(self._store.adelete(key))
        else:
            self.delete(key)


def _can_be_awaited() -> bool:
    """Whether the store can be used from an event loop. In `dag.test()` of Airflow 3.3.2 it cannot."""
    return hasattr(task_runner.SUPERVISOR_COMMS, "asend")


def path_key(dag_id: str, run_id: str, task_id: str, fingerprint: str) -> str:
    """The key of the state of one request in one run. It does not change when the run is planned again.

    `task_id` is a task of the path. All tasks of a task group share the state.
    """
    group = task_id.rpartition(".")[0] or task_id
    whole = "\n".join((dag_id, run_id, group, fingerprint))
    return "path:" + hashlib.sha256(whole.encode()).hexdigest()


AWAITS = "line:"
"""How the keys begin of what processes store of their waiters. Airflow lists these keys before those of paths, and
behind those of doubts: however many processes store something, no doubt is hidden."""


def waiters_key(base_url: str, place: int) -> str:
    """The key of what one process stores of its waiters on an instance."""
    return f"{AWAITS}{hashlib.sha256(base_url.encode()).hexdigest()}:{place:02}"


def lease_key(base_url: str) -> str:
    """The key of the lease to start jobs on an instance."""
    return "starts:" + hashlib.sha256(base_url.encode()).hexdigest()
