"""The forms in which a secret may appear in an answer. Pure."""

from __future__ import annotations

import html
import json
import re
from urllib.parse import quote, quote_plus

_OF_HTML = re.compile("[<>&='\u2028\u2029]")
_ESCAPE = re.compile(r"\\u(....)")
_TOKEN = re.compile(r"""((?:access|refresh|id)_token\\?["']?\s*[:=]\s*\\?["']?)[^"'&,\s\\}]+""", re.IGNORECASE)


def forms_of(secret: str) -> set[str]:
    """The forms of a secret: plain, in a query, in JSON, in HTML; each also with its white space collapsed."""
    plain = {secret, *_in_query(secret), *_in_json(secret)}
    plain |= {escaped for form in tuple(plain) for escaped in _in_html(form)}
    return plain | {" ".join(form.split()) for form in plain}


def _in_query(shown: str) -> set[str]:
    """Percent-encoded, with capital or small hexadecimal digits."""
    encoded = {quote_plus(shown), quote(shown, safe="")}
    return encoded | {re.sub("%..", lambda found: found[0].lower(), form) for form in encoded}


def _in_json(shown: str) -> set[str]:
    """As JSON: letters beyond ASCII plain or escaped, slashes escaped, and HTML characters escaped as Gson does."""
    plain = {json.dumps(shown, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    plain |= {_OF_HTML.sub(_escaped, form) for form in plain}
    plain |= {form.replace("/", "\\/") for form in plain}
    return plain | {_ESCAPE.sub(_in_capitals, form) for form in plain}


def _escaped(letter: re.Match[str]) -> str:
    return f"\\u{ord(letter[0]):04x}"


def _in_capitals(escape: re.Match[str]) -> str:
    return "\\u" + escape[1].upper()


def _in_html(shown: str) -> set[str]:
    """As HTML: quotation marks have several escapes, or none."""
    escaped = html.escape(shown, quote=False)
    doubles = {escaped, *(escaped.replace('"', form) for form in ("&quot;", "&#34;"))}
    return doubles | {one.replace("'", form) for one in doubles for form in ("&#x27;", "&#39;", "&apos;")}


def without_tokens(shown: str) -> str:
    """The text without tokens. This includes unknown ones: an identity service may send a token with an error."""
    return _TOKEN.sub(r"\1***", shown)
