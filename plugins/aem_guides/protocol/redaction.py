"""The forms in which a secret may come back in an answer. Pure."""

from __future__ import annotations

import html
import json
import re
from urllib.parse import quote, quote_plus

_OF_HTML = re.compile("[<>&='\u2028\u2029]")
_ESCAPE = re.compile(r"\\u(....)")
_TOKEN = re.compile(r"""((?:access|refresh|id)_token\\?["']?\s*[:=]\s*\\?["']?)[^"'&,\s\\}]+""", re.IGNORECASE)


def forms_of(secret: str) -> set[str]:
    """How a secret may come back: plain, in a query, in JSON, in HTML; each with its white space run together, too."""
    plain = {secret, *_in_query(secret), *_in_json(secret)}
    plain |= {escaped for form in tuple(plain) for escaped in _in_html(form)}
    return plain | {" ".join(form.split()) for form in plain}


def _in_query(shown: str) -> set[str]:
    """The digits of what is percent-encoded are in capitals, or not."""
    encoded = {quote_plus(shown), quote(shown, safe="")}
    return encoded | {re.sub("%..", lambda found: found[0].lower(), form) for form in encoded}


def _in_json(shown: str) -> set[str]:
    """With letters beyond ASCII as they are or escaped; with slashes escaped, and, as Gson does, what HTML has."""
    plain = {json.dumps(shown, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    plain |= {_OF_HTML.sub(_escaped, form) for form in plain}
    plain |= {form.replace("/", "\\/") for form in plain}
    return plain | {_ESCAPE.sub(_in_capitals, form) for form in plain}


def _escaped(letter: re.Match[str]) -> str:
    return f"\\u{ord(letter[0]):04x}"


def _in_capitals(escape: re.Match[str]) -> str:
    return "\\u" + escape[1].upper()


def _in_html(shown: str) -> set[str]:
    """Quotation marks are escaped in more than one way, or not at all."""
    escaped = html.escape(shown, quote=False)
    doubles = {escaped, *(escaped.replace('"', form) for form in ("&quot;", "&#34;"))}
    return doubles | {one.replace("'", form) for one in doubles for form in ("&#x27;", "&#39;", "&apos;")}


def without_tokens(shown: str) -> str:
    """The text without tokens, also those that this process did not know: an identity service may send one with an
    error."""
    return _TOKEN.sub(r"\1***", shown)
