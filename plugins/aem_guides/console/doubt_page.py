"""A start or resume in doubt: what was asked, the jobs that it may have become, and the choice between them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from aem_guides.console import airflow_runs, airflow_store
from aem_guides.console.access import CONTROL, UserDep, Visitor, VisitorDep, may_clear
from aem_guides.console.airflow_runs import AirflowRun
from aem_guides.console.airflow_store import Entry, StoreHiddenError
from aem_guides.console.doubts import FORGETTABLE, MOST, Candidate, Case, Stage, candidates, facts
from aem_guides.console.forms import posted
from aem_guides.console.instance_health import watch_of
from aem_guides.console.rendering import Problem, address, page, rendered
from aem_guides.hooks.bodies import surroundings
from aem_guides.ledger.lookup import Listed, Lookup, Search
from aem_guides.pipelines.control import Action
from aem_guides.pipelines.doubt import parse_name
from aem_guides.protocol.errors import InvalidInputError
from aem_guides.protocol.models import JsonObject, ProcessingRequest
from aem_guides.protocol.procedures.intent import CLOCK_TOLERANCE_MS
from aem_guides.protocol.procedures.path_state import PathState
from aem_guides.runtime.doubts import PREFIX, Doubt, doubt_key
from aem_guides.runtime.path_store import UnreadableStateError, decoded

router = APIRouter()
NONE, OTHER, JOB, FORGET = "none", "other", "=", "forget"
"""What a choice is in the form; behind the last one, the id."""
LONGEST_ID = 1000
TASKS_END_SECONDS, TRY_AGAIN_SECONDS = 20.0, 2.0
CONFLICT = 409
MOST_RUNS = 20
"""So many runs may have failed to store the choice about one doubt."""


def open_doubts(entries: Iterable[Entry]) -> list[Doubt]:
    """What waits for a person, the longest first."""
    found = [Doubt.from_json(entry.value) for entry in entries if entry.key.startswith(PREFIX)]
    return sorted((doubt for doubt in found if doubt is not None), key=lambda doubt: doubt.at)


@router.get("/doubt")
async def show(request: Request, visitor: VisitorDep, user: UserDep, name: str, mine: str = "") -> Response:
    """The page; with `part` that part of it that changes by itself until the run goes on."""
    is_part = "part" in request.query_params
    try:
        case = await _case(request, name)
    except HTTPException as error:
        if is_part and error.status_code == 404:
            return page(request, "doubt_over.html")
        raise
    values: dict[str, object] = {
        "case": case,
        "stages": Stage,
        "visitor": visitor,
        "control": CONTROL,
        "may_settle": _may_settle(request, visitor, user, case),
        "goes_on_by_itself": hmac.compare_digest(mine.encode(), _proof(visitor, name).encode()),
    }
    if is_part:
        return rendered(request, "doubt_part.html", values)
    intent, found, trouble = case.intent, list[Candidate](), None
    if case.stage is Stage.OPEN and intent is not None:
        history = await watch_of(request).history(case.doubt.asker.connection_id)
        trouble = history if isinstance(history, str) else None
        ledger = await run_in_threadpool(_in_ledger, case, intent.at)
        found = candidates(case.state, intent, None if isinstance(history, str) else history, ledger)
    part = address("doubt", name=name, mine=mine, part=1)
    asked = [("Path", case.doubt.path)] if case.is_deleted else facts(case.state.request)
    return rendered(request, "doubt.html", values | {"part": part, "facts": asked, "found": found, "trouble": trouble})


@router.post("/settle")
async def settle(request: Request, visitor: VisitorDep, user: UserDep) -> Response:
    """Have a run store the choice. Of two who settle one doubt at once, the first one counts."""
    form = await posted(request, visitor)
    case = await _case(request, form.get("name", ""))
    _require(request, visitor, user, case)
    forgets = form.get("choice") == FORGET
    if case.stage not in (FORGETTABLE if forgets else {Stage.OPEN}):
        raise HTTPException(409, _problem(case, "This cannot be chosen any more", "It has changed meanwhile."))
    conf: JsonObject = {
        "action": str(Action.FORGET if forgets else Action.SETTLE),
        "processing_id": None if forgets else _chosen(case, form),
        "doubt": case.name,
        "connection_id": case.doubt.asker.connection_id,
    }
    for number in range(1, MOST_RUNS + 1):
        run = await airflow_runs.start(request, CONTROL, _run_id(case.name, number), conf)
        earlier = await airflow_runs.look(request, CONTROL, run.run_id) if run.was_there else None
        if not run.was_there:
            return RedirectResponse(address("doubt", name=case.name, mine=_proof(visitor, case.name)), 303)
        if earlier is None or not earlier.is_over:
            raise HTTPException(
                409, _problem(case, "Somebody else settles this just now", "Your choice was not taken.")
            )
    raise HTTPException(409, _problem(case, "It was tried too often", "See in Airflow why the runs fail."))


@router.post("/go-on")
async def go_on(request: Request, visitor: VisitorDep, user: UserDep) -> Response:
    """Clear the task, so that the run goes on with the choice that is stored.

    Airflow clears no task that is at work, and those after the failed one may be for some seconds yet.
    """
    form = await posted(request, visitor)
    give_up_at = surroundings().elapsed() + TASKS_END_SECONDS
    while True:
        case = await _case(request, form.get("name", ""))
        _require(request, visitor, user, case)
        if case.stage is not Stage.STORED:
            break
        try:
            await airflow_runs.clear(request, case.doubt.asker.task)
            break
        except HTTPException as refused:
            if refused.status_code != CONFLICT or surroundings().elapsed() >= give_up_at:
                said = refused.detail
                if isinstance(said, Problem):
                    said = Problem(said.title, said.text, "To the choice", address("doubt", name=case.name))
                raise HTTPException(refused.status_code, said) from refused
        await surroundings().asleep(TRY_AGAIN_SECONDS)
    return RedirectResponse(address("doubt", name=case.name), 303)


async def _case(request: Request, name: str) -> Case:
    """The doubt of this name as it is now. Raises HTTPException."""
    try:
        state_key, at = parse_name(name)
    except InvalidInputError:
        raise HTTPException(404, NO_DOUBT) from None
    try:
        doubt = Doubt.from_json(await airflow_store.value_of(request, doubt_key(state_key)))
        if doubt is None or doubt.at != at or doubt.state_key != state_key:
            raise HTTPException(404, NO_DOUBT)
        state = decoded(await airflow_store.value_of(request, state_key))
    except StoreHiddenError as error:
        raise HTTPException(403, Problem("This is not shown", str(error), "Now", "now")) from error
    except UnreadableStateError as error:
        raise HTTPException(409, Problem("The state of the path cannot be read", str(error), "Now", "now")) from error
    if state is None:
        listed = PathState(ProcessingRequest(doubt.path), instance=doubt.instance)
        return Case(doubt, listed, None, is_deleted=True)
    task_state = await airflow_runs.task_state(request, doubt.asker.task)
    case = Case(doubt, state, task_state)
    return Case(doubt, state, task_state, await _settling(request, name)) if case.stage is Stage.OPEN else case


async def _settling(request: Request, name: str) -> AirflowRun | None:
    """The last run that was to store a choice about this doubt."""
    last = None
    for number in range(1, MOST_RUNS + 1):
        run = await airflow_runs.look(request, CONTROL, _run_id(name, number))
        if run is None:
            break
        last = run
    return last


def _run_id(name: str, number: int) -> str:
    """The same for all who settle this doubt: Airflow takes one of them."""
    return f"console__settle__{hashlib.sha256(name.encode()).hexdigest()[:32]}__{number}"


def _chosen(case: Case, form: dict[str, str]) -> str | None:
    """The job that the form chooses; None for none of them. Raises HTTPException."""
    choice = form.get("choice", "")
    if choice == NONE:
        return None
    name = form.get("other", "").strip() if choice == OTHER else choice.removeprefix(JOB)
    if not choice.startswith((JOB, OTHER)) or not name or len(name) > LONGEST_ID or "\0" in name:
        raise HTTPException(400, _problem(case, "Nothing was chosen", "Choose a job, or none of them."))
    return name


def _may_settle(request: Request, visitor: Visitor, user: UserDep, case: Case) -> bool:
    return visitor.may_control and may_clear(request, user, case.doubt.asker.task.dag_id)


def _require(request: Request, visitor: Visitor, user: UserDep, case: Case) -> None:
    if not _may_settle(request, visitor, user, case):
        raise HTTPException(403)


def _proof(visitor: Visitor, name: str) -> str:
    """What only the page has that this visitor has sent: the run may go on without another click."""
    return hmac.new(visitor.token.encode(), name.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()


def _in_ledger(case: Case, at: int) -> tuple[Listed, ...]:
    state = case.state
    if state.instance is None:
        return ()
    search = Search(instance=state.instance, path=state.request.path, since=max(0, at - CLOCK_TOLERANCE_MS))
    with Lookup() as ledger:
        return tuple(found for found in ledger.page(search, size=MOST).jobs if found.job.path == state.request.path)


def _problem(case: Case, title: str, text: str) -> Problem:
    return Problem(title, f"{text} Nothing was changed.", "To the choice", address("doubt", name=case.name))


NO_DOUBT = Problem(
    "There is no such doubt",
    "It was settled, and the run has gone on; or its task was cleared. The run shows what became of it.",
    "Now",
    "now",
)
