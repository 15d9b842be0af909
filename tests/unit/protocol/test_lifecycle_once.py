"""A lifecycle that dies after any step: one request leads to one job, and one intent to one resume."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st

from aem_guides.protocol.contract import read_job
from aem_guides.protocol.errors import AemGuidesError
from aem_guides.protocol.models import Job
from aem_guides.protocol.procedures.lifecycle import run_lifecycle
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.protocol.procedures.start import OnActiveJob, Origin
from aem_guides.protocol.procedures.take_up import LifecycleOptions, take_up
from aem_guides.protocol.steps import Emit, Steps
from aem_guides.runtime.path_store import decoded, encoded
from tests.unit.protocol.modelled import FATES, REQUEST, Crash, Instance, instances

TRIES = 12
OPTIONS = LifecycleOptions(
    run="try", queue_seconds=3600.0, job_seconds=60.0, cancel_on_deadline=False, max_resumes=1, longest_look=15.0
)
CRASHES = st.lists(st.integers(0, 12), max_size=6)


@dataclass
class Path:
    """A path over its tries. Each try dies after as many emitted items as `crashes` says, the last entry first."""

    instance: Instance
    crashes: list[int]
    stored: PathState = field(default_factory=lambda: PathState(REQUEST))
    phases: list[Phase] = field(default_factory=list)

    def keep(self, state: PathState) -> None:
        assert state.serial > self.stored.serial, "a state may not be taken for an earlier one"
        kept = decoded(encoded(state), REQUEST)
        assert kept == state
        self.stored = state
        self.phases.append(state.phase)

    def go_on(self, until: Phase, options: LifecycleOptions, *, later_try: bool = False) -> bool:
        """Run one try. Returns whether it came to its end."""
        self.instance.world.clock += 30
        self.keep(
            take_up(
                self.stored,
                self._job(),
                cleared=False,
                later_try=later_try,
                now=self.instance.world.clock,
                options=options,
            )
        )
        talk = self.instance.world.conversation(attempts=2)
        try:
            self.instance.world.run(self._dying(run_lifecycle(talk, self.stored, options, until)))
        except Crash:
            return False
        except AemGuidesError:
            return self.stored.doubtful
        return True

    def _job(self) -> Job | None:
        known = (job for job in self.instance.jobs if job["processingId"] == self.stored.processing_id)
        return next((read_job(dict(job)) for job in known), None)

    def _dying(self, steps: Steps[PathState]) -> Steps[None]:
        left = self.crashes.pop() if self.crashes else None
        try:
            step = next(steps)
            while True:
                if isinstance(step, Emit):
                    if isinstance(step.item, PathState):
                        self.keep(step.item)
                    if left == 0:
                        steps.close()
                        raise Crash
                    left = None if left is None else left - 1
                try:
                    answer = yield step
                except AemGuidesError as error:
                    step = steps.throw(error)
                    continue
                step = steps.send(answer)
        except StopIteration:
            return


@settings(max_examples=150)
@given(instance=instances, crashes=CRASHES, on_active_job=st.sampled_from(list(OnActiveJob)))
@example(instance=Instance(fates=["crash after"]), crashes=[3, 2, 1], on_active_job=OnActiveJob.ADOPT)
def test_wherever_it_dies_one_request_never_makes_two_jobs(
    instance: Instance, crashes: list[int], on_active_job: OnActiveJob
) -> None:
    path = Path(instance, crashes)
    options = LifecycleOptions(run="try", queue_seconds=3600.0, on_active_job=on_active_job)
    for _ in range(TRIES):
        if path.go_on(Phase.FOLLOWING, options):
            break
    assert len(instance.ours) <= 1, "a duplicate"
    if path.stored.processing_id is not None and path.stored.origin is not Origin.ADOPTED and instance.ours:
        strangers = [job for job in instance.jobs if job["processingId"] not in instance.ours]
        alike = [job for job in strangers if job["path"] == REQUEST.path]
        assert path.stored.processing_id in instance.ours or alike


@settings(max_examples=80)
@given(fates=st.lists(FATES, max_size=6), crashes=CRASHES, lag=st.sampled_from([0.0, 3.0, 15.0]))
def test_without_other_users_there_is_always_a_job_in_the_end(fates: list[str], crashes: list[int], lag: float) -> None:
    instance = Instance(fates=fates, lag=lag)
    path = Path(instance, crashes)
    assert any(path.go_on(Phase.FOLLOWING, OPTIONS) for _ in range(TRIES + len(fates)))
    assert [path.stored.processing_id] == instance.ours


@settings(max_examples=80)
@given(fates=st.lists(FATES, max_size=5), crashes=CRASHES, keeps_id=st.booleans())
@example(fates=["crash after"], crashes=[4, 3, 2], keeps_id=False)
def test_wherever_it_dies_one_resume_is_made(fates: list[str], crashes: list[int], *, keeps_id: bool) -> None:
    instance = Instance(fates=fates, keeps_id=keeps_id)
    instance.stranger(REQUEST.path, excludedPaths=list(REQUEST.excluded_paths), status="FAILED", completedAt=1)
    instance.jobs[0]["resumable"] = True
    state = PathState(REQUEST, serial=3, resumes_left=1).works("job-0", Origin.STARTED)
    path = Path(instance, crashes, state)
    for number in range(TRIES + len(fates)):
        if path.go_on(Phase.ENDED, OPTIONS, later_try=number == 0 or bool(instance.resumed)):
            break
    assert instance.resumed <= 1
    if path.stored.end is not None and instance.resumed:
        assert path.stored.processing_id == ("job-0" if keeps_id else "job-1")
