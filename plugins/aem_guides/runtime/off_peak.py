"""What waiting over off-peak hours needs of Airflow: how it is handed to the trigger, and where its state is kept.

A trigger can write XComs and nothing else that lasts. Airflow wipes the XComs of a task when a new try of it begins,
so the state is kept as one of the task that started the job, where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from airflow.sdk import Context
from airflow.sdk.bases.xcom import BaseXCom

from aem_guides.protocol.hours import parse_only_between
from aem_guides.protocol.models import JsonObject, JsonValue, ProcessingRequest
from aem_guides.protocol.procedures.off_peak import OffPeakCourse, OffPeakState
from aem_guides.runtime.task_states import TaskKey, left_behind

OFF_PEAK_KEY = "aem_guides_off_peak"


@dataclass(frozen=True)
class OffPeakOrder:
    """What a trigger is told; `keeper` is the task whose XCom keeps the state, None for the waiting task itself."""

    course: OffPeakCourse
    state: OffPeakState
    keeper: str | None

    def to_json(self) -> JsonObject:
        return {
            "hours": self.course.hours.to_json(),
            "may_cancel": self.course.may_cancel,
            "request": self.course.request.to_json(),
            "run": self.course.run,
            "state": self.state.to_json(),
            "keeper": self.keeper,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, JsonValue]) -> OffPeakOrder:
        """Read what `to_json` wrote. Raises ValueError where it is something else."""
        match data:
            case {
                "hours": list(hours),
                "may_cancel": bool(may_cancel),
                "request": dict(request),
                "run": str(run),
                "state": dict(state),
                "keeper": (None | str()) as keeper,
            } if (parsed := parse_only_between(hours)) is not None:
                course = OffPeakCourse(parsed, may_cancel, ProcessingRequest.from_json(request), run)
                return cls(course, OffPeakState.from_json(state), keeper)
        raise ValueError(f"not a stored off-peak order: it has {sorted(data)}")

    async def with_kept_state(self, key: TaskKey | None) -> OffPeakOrder:
        """The order with the state that a trigger before a restart had come to. `key` is the waiting task."""
        if key is None:
            return self
        at = _kept_at(key, self.keeper)
        kept = await BaseXCom.aget_one(
            key=OFF_PEAK_KEY, dag_id=at.dag_id, task_id=at.task_id, run_id=at.run_id, map_index=at.map_index
        )
        return replace(self, state=newest(self.state, _read(kept, self.state.origin_id)))

    async def keep(self, key: TaskKey, state: OffPeakState) -> None:
        """Keep the state; it is safe when this returns."""
        at = _kept_at(key, self.keeper)
        await BaseXCom.aset(
            OFF_PEAK_KEY,
            state.to_json(),
            dag_id=at.dag_id,
            task_id=at.task_id,
            run_id=at.run_id,
            map_index=at.map_index,
        )


def newest(state: OffPeakState, other: OffPeakState | None) -> OffPeakState:
    """The later one of two states of a job."""
    return state if other is None or other.serial <= state.serial else other


def kept_state(context: Context, keeper: str | None, origin_id: str) -> OffPeakState | None:
    """The state that a trigger kept, from within the waiting task; None where there is none of this job."""
    ti = context["ti"]
    index = -1 if ti.map_index is None else ti.map_index
    return _read(left_behind(ti, keeper or ti.task_id, OFF_PEAK_KEY, index), origin_id)


def _kept_at(key: TaskKey, keeper: str | None) -> TaskKey:
    return replace(key, task_id=keeper or key.task_id)


def _read(kept: object, origin_id: str) -> OffPeakState | None:
    if not isinstance(kept, Mapping):
        return None
    state = OffPeakState.from_json(kept)
    return state if state.origin_id == origin_id else None
