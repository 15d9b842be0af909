"""Valid but unusual JSON answers: other values in some fields, another charset, a byte order mark."""

from __future__ import annotations

import codecs
import json

from starlette.requests import Request
from starlette.responses import Response

from emulator.checks import BadInputError
from emulator.transport import whole_body

ODD_FAULTS = ("odd_fields", "odd_lines", "charset", "byte_order_mark")


def check_odd(kind: str, body: str, word: str) -> None:
    """Raises BadInputError for a fault of these kinds that is not possible."""
    if kind in ("odd_fields", "odd_lines"):
        try:
            answer = json.loads(body)
        except ValueError:
            raise BadInputError("body", body, "Give JSON.") from None
        if not isinstance(answer, dict if kind == "odd_fields" else str):
            raise BadInputError("body", body, "Give the JSON of an object (odd_fields) or of a text (odd_lines).")
    if kind == "charset":
        try:
            codecs.lookup(word)
        except LookupError:
            raise BadInputError("word", word, "Give the name of a charset.") from None


async def made_odd(kind: str, body: str, word: str, real: Response, request: Request) -> Response:
    """The answer, changed by the fault.

    odd_fields: every field that `body` (a JSON object) names gets its value. odd_lines: `body` (a text as JSON) is
    appended to each log line. charset: the answer is in the charset `word`, which it declares. byte_order_mark: the
    answer begins with EF BB BF.
    """
    content = await whole_body(real, request)
    media_type = real.headers.get("content-type")
    if kind == "byte_order_mark":
        return Response(codecs.BOM_UTF8 + content, real.status_code, media_type=media_type)
    try:
        answer = json.loads(content)
    except ValueError:  # a ZIP
        return Response(content, real.status_code, media_type=media_type)
    if kind == "charset":
        shown = json.dumps(answer, ensure_ascii=False).encode(word, errors="replace")
        return Response(shown, real.status_code, {"content-type": f"application/json;charset={word}"})
    if kind == "odd_fields":
        answer = _replaced(answer, json.loads(body))
    elif isinstance(answer, dict) and isinstance(answer.get("lines"), list):
        answer["lines"] = [f"{line}{json.loads(body)}" for line in answer["lines"]]
    # In ASCII: no charset can encode half an emoji, but JSON can escape it.
    return Response(json.dumps(answer).encode(), real.status_code, media_type=media_type)


def _replaced(value: object, others: dict[str, object]) -> object:
    if isinstance(value, dict):
        return {name: others[name] if name in others else _replaced(inner, others) for name, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, others) for inner in value]
    return value
