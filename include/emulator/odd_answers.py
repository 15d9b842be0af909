"""JSON answers that are right but odd: other values in some fields, another charset, a byte order mark."""

from __future__ import annotations

import codecs
import json

from starlette.requests import Request
from starlette.responses import Response

from emulator.checks import BadInputError
from emulator.transport import whole_body

ODD_FAULTS = ("odd_fields", "odd_lines", "charset", "byte_order_mark")


def check_odd(kind: str, body: str, word: str) -> None:
    """Raises BadInputError for a fault of these kinds that cannot be carried out."""
    if kind in ("odd_fields", "odd_lines"):
        try:
            told = json.loads(body)
        except ValueError:
            raise BadInputError("body", body, "Give JSON.") from None
        if not isinstance(told, dict if kind == "odd_fields" else str):
            raise BadInputError("body", body, "Give the JSON of an object (odd_fields) or of a text (odd_lines).")
    if kind == "charset":
        try:
            codecs.lookup(word)
        except LookupError:
            raise BadInputError("word", word, "Give the name of a charset.") from None


async def made_odd(kind: str, body: str, word: str, real: Response, request: Request) -> Response:
    """The answer with what the fault does to it.

    odd_fields: every field that `body` (a JSON object) names has its value instead. odd_lines: `body` (the JSON of a
    text) follows each log line. charset: in the charset `word`, which is declared. byte_order_mark: behind EF BB BF.
    """
    content = await whole_body(real, request)
    media_type = real.headers.get("content-type")
    if kind == "byte_order_mark":
        return Response(codecs.BOM_UTF8 + content, real.status_code, media_type=media_type)
    try:
        told = json.loads(content)
    except ValueError:  # a ZIP
        return Response(content, real.status_code, media_type=media_type)
    if kind == "charset":
        shown = json.dumps(told, ensure_ascii=False).encode(word, errors="replace")
        return Response(shown, real.status_code, {"content-type": f"application/json;charset={word}"})
    if kind == "odd_fields":
        told = _replaced(told, json.loads(body))
    elif isinstance(told, dict) and isinstance(told.get("lines"), list):
        told["lines"] = [f"{line}{json.loads(body)}" for line in told["lines"]]
    # In ASCII: half an emoji cannot be encoded in any charset, but JSON can escape it.
    return Response(json.dumps(told).encode(), real.status_code, media_type=media_type)


def _replaced(value: object, others: dict[str, object]) -> object:
    if isinstance(value, dict):
        return {name: others[name] if name in others else _replaced(inner, others) for name, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, others) for inner in value]
    return value
