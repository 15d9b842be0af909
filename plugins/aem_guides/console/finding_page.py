"""What the reconciliation found, what was done about it, and what one can do."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from aem_guides.console import asked
from aem_guides.console.access import VisitorDep
from aem_guides.console.rendering import address, page
from aem_guides.ledger.findings import FindingKind
from aem_guides.ledger.lookup import PAGE, Lookup
from aem_guides.protocol.models import LARGEST_NUMBER

router = APIRouter()


@router.get("/findings")
def findings(request: Request, visitor: VisitorDep) -> Response:
    """The open ones, or all."""
    complaints: list[str] = []
    query = request.query_params
    instance = asked.words(query, "instance")
    kind = asked.one_of(query, "kind", FindingKind, complaints)
    with_closed = query.get("which") == "all"
    told = query.get("before", "")
    before = int(told) if told.isascii() and told.isdecimal() and len(told) < len(str(LARGEST_NUMBER)) else None
    with Lookup() as ledger:
        instances = ledger.instances()
        found = ledger.findings(instance=instance, kind=kind, is_open=not with_closed, before=before, size=PAGE + 1)
    chosen = {"instance": instance, "kind": kind, "which": "all" if with_closed else ""}
    shown = found[:PAGE]
    return page(
        request,
        "findings.html",
        visitor=visitor,
        found=shown,
        instances=instances,
        kinds=list(FindingKind),
        chosen=chosen,
        complaints=complaints,
        beginning=address("findings", **chosen) if before is not None else None,
        further=address("findings", **chosen, before=shown[-1].id) if len(found) > PAGE else None,
    )
