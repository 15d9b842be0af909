"""The state store of `aem_guides_notes` as Airflow's own API shows it to the user.

Airflow lists the keys in their order. What is looked for here comes before the states of paths, of which there are
many, so that one page has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlencode

from fastapi import Request

from aem_guides.console.airflow_runs import ask
from aem_guides.protocol.models import JsonValue
from aem_guides.runtime.notes import NOTES

PAGE, MOST_PAGES = 20, 6
"""So many entries are asked for at once: behind those that are looked for, each is the whole state of a path."""
_ASSET_ID = "aem_guides_notes_id"


@dataclass(frozen=True)
class Entry:
    """A key and its value."""

    key: str
    value: JsonValue


class StoreHiddenError(Exception):
    """Airflow does not show the store to this user, or does not have it yet. The text is a sentence for people."""


async def first_entries(request: Request, *prefixes: str) -> tuple[list[Entry], bool]:
    """The entries whose keys begin with one of these, which come first: at most 120, and whether there may be more.

    Raises StoreHiddenError.
    """
    found: list[Entry] = []
    for number in range(MOST_PAGES):
        page = await _page(request, number)
        found += (entry for entry in page if entry.key.startswith(prefixes))
        if len(page) < PAGE or not page[-1].key.startswith(prefixes):
            return found, False
    return found, True


async def _page(request: Request, number: int) -> list[Entry]:
    answer = await _answer(request, f"?{urlencode({'limit': PAGE, 'offset': PAGE * number})}")
    told = answer.get("asset_state_store") if isinstance(answer, dict) else None
    entries = [entry for entry in told if isinstance(entry, dict)] if isinstance(told, list) else []
    return [Entry(str(entry["key"]), entry.get("value")) for entry in entries if "key" in entry]


async def value_of(request: Request, key: str) -> JsonValue:
    """The value of a key; None where there is none. Raises StoreHiddenError."""
    found = await _answer(request, f"/{quote(key, safe=':')}")
    return found.get("value") if isinstance(found, dict) else None


async def _answer(request: Request, rest: str) -> JsonValue:
    asset_id = await _asset_id(request)
    status, told = await ask(request, "GET", f"/api/v2/assets/{asset_id}/state-store{rest}")
    if status == 404:
        if str(told.get("detail")).startswith("Asset with id"):  # it was made anew, which the next look finds
            setattr(request.app.state, _ASSET_ID, None)
        return None
    if status != 200:
        raise StoreHiddenError(_why(status))
    return told


async def _asset_id(request: Request) -> int:
    """The number that Airflow has given the asset: it is looked for once."""
    known = getattr(request.app.state, _ASSET_ID, None)
    if isinstance(known, int):
        return known
    status, told = await ask(request, "GET", f"/api/v2/assets?{urlencode({'name_pattern': NOTES.name})}")
    if status != 200:
        raise StoreHiddenError(_why(status))
    assets = told.get("assets")
    for asset in assets if isinstance(assets, list) else []:
        if isinstance(asset, dict) and asset.get("name") == NOTES.name and isinstance(asset.get("id"), int):
            setattr(request.app.state, _ASSET_ID, asset["id"])
            return int(str(asset["id"]))
    raise StoreHiddenError("Airflow has not read the DAGs of AEM Guides yet.")


def _why(status: int) -> str:
    if status in (401, 403):
        return "You may not see it: that needs the right to read assets in Airflow."
    return f"Airflow does not show it now (it answered {status})."
