"""Turn the bytes of an answer into values that can be stored, shown and carried.

An instance, a proxy or a CDN can send anything. So this module, and no other, decodes text by its declared charset and
byte order mark, and cleans it: PostgreSQL's JSONB rejects NUL, UTF-8 has no lone surrogates, and a terminal obeys
control characters. Larger numbers are reduced to the largest BIGINT.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping
from itertools import islice

from aem_guides.protocol.limits import MOST_VALUES
from aem_guides.protocol.models import LARGEST_NUMBER, JsonValue

LONGEST_TEXT = 4_000
"""Characters of a value that are kept. No path, id or comment needs more, and events and XComs carry it."""
LONGEST_LINE = 100_000
"""Characters of a log line that are kept. The archive has the whole line."""

_LONGEST_DIGITS = 40
"""Digits of a whole number that are kept, in case it is an id. A count is reduced further where it is read."""
_DEEPEST = 100
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins like the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CHARSET = re.compile(r"charset\s*=\s*\"?'?([A-Za-z0-9._:-]+)", re.IGNORECASE)
_NOT_TO_BE_KEPT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0\ufffe\uffff]")
_MARK = "�"
_STRUCTURE = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\Z)|[\[{,]', re.DOTALL)
_NO_CHARSETS = frozenset({"punycode", "unicode-escape", "raw-unicode-escape"})
"""Codecs of Python that answers never use. The first takes hours for some megabytes."""


class JsonError(ValueError):
    """A body is not JSON, or not JSON that can be read. The text says why, without a quote of the body."""


def read_json(
    body: bytes, headers: Mapping[str, str], *, longest: int = LONGEST_TEXT, most: int = MOST_VALUES
) -> JsonValue:
    """The value of a body, with all texts cleaned and none longer than `longest` characters.

    `headers` has lower-case names. Raises JsonError if the body is not JSON, is nested more than 100 deep, or has more
    than `most` values.
    """
    shown = decoded(body, headers)
    if _has_more_values(shown, most):
        raise JsonError(f"the answer has more than {most:,} values")
    try:
        value: JsonValue = DECODER.decode(shown)
        return cleaned(value, longest)
    except RecursionError:
        raise JsonError("the answer is nested too deep") from None
    except JsonError:
        raise
    except ValueError:
        raise JsonError("the answer is not JSON") from None


def decoded(body: bytes, headers: Mapping[str, str]) -> str:
    """The text of a body: by its byte order mark, else by the declared charset, else as UTF-8 (RFC 8259, 8.1).

    Bytes that the charset cannot decode become U+FFFD.
    """
    mark, charset = charset_of(body, headers)
    return body[mark:].decode(charset, errors="replace")


def charset_of(beginning: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
    """The length of the byte order mark (0 if there is none) and the name of the charset."""
    for mark, charset in _BYTE_ORDER_MARKS:
        if beginning.startswith(mark):
            return len(mark), charset
    return 0, _declared(headers)


def clean_text(value: str, longest: int = LONGEST_TEXT) -> str:
    """A text that can be stored, shown and carried. Other characters become U+FFFD, and a longer text is cut with a
    mark."""
    beyond = len(value) - longest
    if beyond > 0:
        value = f"{value[:longest]} … [cut: {beyond} more characters]"
    return _NOT_TO_BE_KEPT.sub(_MARK, value)


def is_odd(shown: str) -> bool:
    """Whether a JSON text may contain text that needs cleaning. Most do not, and cleaning takes time."""
    return "\\" in shown or _NOT_TO_BE_KEPT.search(shown) is not None


def _has_more_values(shown: str, most: int) -> bool:
    """Whether a JSON text has more values than this limit. Contents of strings are not counted."""
    if sum(map(shown.count, "[{,")) < most:
        return False
    structure = (found for found in _STRUCTURE.finditer(shown) if not found[0].startswith('"'))
    return next(islice(structure, most, None), None) is not None


def _declared(headers: Mapping[str, str]) -> str:
    named = _CHARSET.search(headers.get("content-type", ""))
    if named is None:
        return "utf-8"
    try:
        b"a".decode(named[1], errors="replace")
    except (LookupError, ValueError):  # unknown, or a codec that does not decode bytes to text
        return "utf-8"
    return "utf-8" if codecs.lookup(named[1]).name in _NO_CHARSETS else named[1]


def cleaned(value: JsonValue, longest: int = LONGEST_TEXT, depth: int = _DEEPEST) -> JsonValue:
    """A JSON value with all texts cleaned. Raises JsonError if it is nested more than `depth` deep."""
    if isinstance(value, str):
        return clean_text(value, longest)
    if not isinstance(value, list | dict):
        return value
    if depth == 0:
        raise JsonError("the answer is nested too deep")
    if isinstance(value, list):
        return [cleaned(item, longest, depth - 1) for item in value]
    return {clean_text(key): cleaned(item, longest, depth - 1) for key, item in value.items()}


def _whole(digits: str) -> int:
    if len(digits) <= _LONGEST_DIGITS:
        return int(digits)
    return -LARGEST_NUMBER if digits.startswith("-") else LARGEST_NUMBER


def _float(digits: str) -> float:
    return max(-float(LARGEST_NUMBER), min(float(LARGEST_NUMBER), float(digits)))


def _absent(_constant: str) -> None:
    """NaN and Infinity are not JSON. They become None."""
    return None


DECODER = json.JSONDecoder(parse_int=_whole, parse_float=_float, parse_constant=_absent)
"""Reads a JSON text and limits its numbers. Its texts still need cleaning."""
