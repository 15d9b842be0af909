"""The query builder of the instance, as far as assets by the time of their creation go."""

from __future__ import annotations

from datetime import datetime
from itertools import islice

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.checks import BadInputError
from emulator.content import Repository, Selection
from emulator.queries import number, text

ROUTE = "/bin/querybuilder.json"
_DEFAULT_HITS = 10
_OPERATIONS = {"lowerOperation": (">=", ">"), "upperOperation": ("<", "<=")}


def answer(request: Request, content: Repository) -> Response:
    """One page of the assets below a path that were created between two times."""
    query = request.query_params
    if query.get("type") != "dam:Asset" or query.get("daterange.property", "jcr:created") != "jcr:created":
        raise BadInputError("type", query.get("type"), "The emulator knows dam:Asset by jcr:created only.")
    after, before = _time(request, "lowerBound"), _time(request, "upperBound")
    if _operation(request, "lowerOperation") == ">" and after is not None:
        after += 1
    if _operation(request, "upperOperation") == "<=" and before is not None:
        before += 1
    offset = number(request, "p.offset", 0, least=0)
    limit = number(request, "p.limit", _DEFAULT_HITS, least=1)
    chosen = Selection(text(request, "path"), after=after, before=before)
    found = (asset.path for asset in content.assets(chosen.path) if chosen.in_time(asset.created))
    paths = list(islice(found, offset, offset + limit + 1))
    hits = [{"jcr:path": path} for path in paths[:limit]]
    # The query builder says that there are more only where it guesses the total; else it counts all of them.
    guesses = query.get("p.guessTotal") == "true"
    total = offset + len(paths) + (0 if guesses else sum(1 for _ in found))
    facts: dict[str, object] = {"success": True, "results": len(hits), "total": total}
    return JSONResponse({**facts, "more": guesses and len(paths) > limit, "offset": offset, "hits": hits})


def _operation(request: Request, name: str) -> str:
    value = request.query_params.get(f"daterange.{name}", _OPERATIONS[name][1] if name[0] == "l" else "<")
    if value not in _OPERATIONS[name]:
        raise BadInputError(f"daterange.{name}", value, f"Give one of {', '.join(_OPERATIONS[name])}.")
    return value


def _time(request: Request, name: str) -> int | None:
    value = request.query_params.get(f"daterange.{name}")
    if value is None:
        return None
    try:
        return round(datetime.fromisoformat(value).timestamp() * 1000)
    except ValueError:
        raise BadInputError(f"daterange.{name}", value, "Give a time with its offset.") from None
