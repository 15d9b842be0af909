"""The store of the state of a path: the state store of an Airflow asset, for tasks and triggers."""

from __future__ import annotations

import logging

import msgspec
from airflow.sdk.exceptions import AirflowRuntimeError

from aem_guides.hooks.bodies import surroundings
from aem_guides.protocol.errors import AemGuidesError
from aem_guides.protocol.models import JsonValue, ProcessingRequest
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.path_state import PathState
from aem_guides.runtime import notes
from aem_guides.runtime.doubts import Asker, doubt_key, listing, waits_for_person
from aem_guides.runtime.earlier_states import state_of_note
from aem_guides.runtime.records import Codec

log = logging.getLogger(__name__)

_CODEC = Codec(PathState)


class NewerStateError(AemGuidesError):
    """Another process works on this path, so this one stops without its next step."""


class PathStore:
    """The state of one path, by its key. It survives Clear, retries and success. A write is repeated until it succeeds.

    The store has no compare-and-set, so a state has a serial number: a process that finds a newer one than it last read
    or wrote raises NewerStateError.

    A path in doubt is listed, as that of `asker`, and taken off the list when a try goes on with it.
    """

    def __init__(self, key: str, register: notes.Register | None = None) -> None:
        self.key = key
        self.register = register or notes.AirflowNotes()
        self.asker: Asker | None = None
        self._serial = -1
        self._listed = False

    @classmethod
    def of_path(cls, dag_id: str, run_id: str, task_id: str, fingerprint: str) -> PathStore:
        """The state of a request, by its fingerprint, in a run; `task_id` is any task of the path's group."""
        return cls(notes.path_key(dag_id, run_id, task_id, fingerprint))

    def load(self, request: ProcessingRequest | None = None) -> PathState | None:
        """The state; None if there is none, or if it belongs to another request."""
        return self._read(self.register.get(self.key), request)

    async def aload(self) -> PathState | None:
        """The state, or None."""
        return self._read(await self.register.aget(self.key), None)

    def save(self, state: PathState) -> None:
        """Write the state; try again until Airflow has stored it. Raises NewerStateError."""
        value, failures = encoded(state), 0
        while True:
            try:
                self._check(self.register.get(self.key), value)
                self.register.set(self.key, value)
                if (entry := self._to_list(state)) is not None:
                    self.register.set(doubt_key(self.key), entry)
                elif self._is_over(state):
                    self.register.delete(doubt_key(self.key))
            except AirflowRuntimeError as error:
                failures += 1
                surroundings().sleep(self._pause(state, error, failures))
            else:
                self._known(state)
                return

    async def asave(self, state: PathState) -> None:
        """Write the state; try again until Airflow has stored it. Raises NewerStateError."""
        value, failures = encoded(state), 0
        while True:
            try:
                self._check(await self.register.aget(self.key), value)
                await self.register.aset(self.key, value)
                if (entry := self._to_list(state)) is not None:
                    await self.register.aset(doubt_key(self.key), entry)
                elif self._is_over(state):
                    await self.register.adelete(doubt_key(self.key))
            except AirflowRuntimeError as error:
                failures += 1
                await surroundings().asleep(self._pause(state, error, failures))
            else:
                self._known(state)
                return

    def delete(self) -> None:
        """Delete the state of the path."""
        self.register.delete(self.key)
        self.register.delete(doubt_key(self.key))

    def _read(self, stored: JsonValue, request: ProcessingRequest | None) -> PathState | None:
        state = decoded(stored, request)
        if state is not None and request is not None and state.request != request:
            return None
        self._known(state)
        return state

    def _known(self, state: PathState | None) -> None:
        self._serial = -1 if state is None else state.serial
        self._listed = state is not None and waits_for_person(state)

    def _to_list(self, state: PathState) -> JsonValue:
        return listing(self.key, state, self.asker) if self.asker is not None else None

    def _is_over(self, state: PathState) -> bool:
        return self._listed and not waits_for_person(state)

    def _check(self, stored: JsonValue, value: JsonValue) -> None:
        serial = stored.get("serial") if isinstance(stored, dict) else None
        if isinstance(serial, int) and serial > self._serial and stored != value:
            raise NewerStateError(
                f"Another process works on this path now (its state has the number {serial}, this process last saw "
                f"{self._serial}), so this one stops. If the path makes no progress, clear the task."
            )

    @staticmethod
    def _pause(state: PathState, error: AirflowRuntimeError, failures: int) -> float:
        log.warning("%s: Airflow did not store the state; trying again: %s", state.request.path, error)
        return Pacing().after_failures(failures, random=0.5)


def encoded(state: PathState) -> JsonValue:
    """The state as plain JSON."""
    return _CODEC.encoded(state)


def decoded(stored: JsonValue, request: ProcessingRequest | None = None) -> PathState | None:
    """The stored state, or None. Raises UnreadableStateError.

    `request`: the request of the state. States of earlier versions may not contain it.
    """
    if not isinstance(stored, dict):
        return None
    if "fingerprint" in stored:
        return state_of_note(stored, request)
    try:
        return _CODEC.read(stored)
    except msgspec.ValidationError as error:
        raise UnreadableStateError(
            f"The stored state of a path cannot be read ({error}). Check in the Bulk Processor whether its job is "
            "running, then start a new run for the path."
        ) from None


class UnreadableStateError(AemGuidesError):
    """The stored state of a path has an unknown form."""
