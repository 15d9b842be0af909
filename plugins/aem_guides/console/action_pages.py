"""Actions: a question first, then a run of ours that does it, then what became of it."""

from __future__ import annotations

import re
import uuid

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from aem_guides.console import airflow_runs
from aem_guides.console.access import CONTROL, PROCESS, Visitor, VisitorDep
from aem_guides.console.deeds import WORDS, Deed, possible, run_of
from aem_guides.console.forms import ELSEWHERE, posted
from aem_guides.console.job_pages import UNKNOWN
from aem_guides.console.rendering import Problem, address, page, rendered
from aem_guides.ledger.lookup import Lookup, Story

router = APIRouter()
_NONCE = re.compile(r"[0-9a-f]{32}")


@router.get("/act")
def ask(request: Request, visitor: VisitorDep, deed: str, instance: str, name: str) -> Response:
    """The question."""
    story, chosen = _chosen(visitor, deed, instance, name)
    return page(
        request, "act.html", visitor=visitor, story=story, deed=chosen, words=WORDS[chosen], nonce=uuid.uuid4().hex
    )


@router.post("/act")
async def act(request: Request, visitor: VisitorDep) -> Response:
    """Do it. Two posts of one page are one run."""
    form = await posted(request, visitor)
    nonce = form.get("nonce", "")
    if not _NONCE.fullmatch(nonce):
        raise HTTPException(400, ELSEWHERE)
    deed, instance, name = (form.get(field, "") for field in ("deed", "instance", "name"))
    story, chosen = await run_in_threadpool(_chosen, visitor, deed, instance, name)
    dag_id, conf = run_of(chosen, story)
    run = await airflow_runs.start(request, dag_id, f"console__{chosen}__{nonce}", conf)
    here = address("done", deed=chosen, dag_id=run.dag_id, run_id=run.run_id, instance=instance, name=name)
    return RedirectResponse(here, 303)


@router.get("/done")
async def done(
    request: Request, visitor: VisitorDep, deed: str, dag_id: str, run_id: str, instance: str, name: str
) -> Response:
    """What became of it; with `part` that part of the page alone, which the browser asks for until the run is over."""
    if dag_id not in (CONTROL, PROCESS) or deed not in WORDS:
        raise HTTPException(404)
    run = await airflow_runs.look(request, dag_id, run_id)
    values: dict[str, object] = {
        "words": WORDS[Deed(deed)],
        "part": f"{request.url.query}&part=1",
        "run": run,
        "dag_id": dag_id,
        "run_id": run_id,
        "instance": instance,
        "name": name,
    }
    template = "done_part.html" if "part" in request.query_params else "done.html"
    return rendered(request, template, values)


NOT_POSSIBLE = Problem(
    "This cannot be done with the job as it is now",
    "Its state has changed meanwhile, or you may not do it. Open the job again: it shows what can be done.",
    link="All jobs",
    href="jobs",
)


def _chosen(visitor: Visitor, deed: str, instance: str, name: str) -> tuple[Story, Deed]:
    """The job and what is to be done with it. Raises HTTPException."""
    if deed not in WORDS:
        raise HTTPException(404)
    chosen = Deed(deed)
    if not (visitor.may_process if chosen is Deed.AGAIN else visitor.may_control):
        raise HTTPException(403)
    with Lookup() as ledger:
        story = ledger.story(instance, name)
    if story is None:
        raise HTTPException(404, UNKNOWN)
    if chosen not in possible(visitor, story):
        raise HTTPException(409, NOT_POSSIBLE)
    return story, chosen
