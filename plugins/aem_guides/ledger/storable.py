"""Column types that accept any value: what a database cannot store is cut or marked before it is written.

So one unusual job or note cannot block the ledger for all others.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import JSON, BigInteger, DateTime, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from aem_guides.ledger.names import LONGEST_NAME, storable_name
from aem_guides.protocol.json import clean_text, cleaned
from aem_guides.protocol.models import LARGEST_NUMBER, JsonValue

LONGEST_TEXT = 20_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LATEST = 253_402_300_799_999


class Milliseconds(TypeDecorator[int]):
    """A timestamp in the database, epoch milliseconds in Python. SQLite stores no offset, so its values are in UTC.

    A time before 1970 or after the year 9999 becomes the nearest allowed time.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else _EPOCH + min(max(value, 0), _LATEST) * _MILLISECOND

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> int | None:
        if value is None:
            return None
        return ((value if value.tzinfo else value.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND


class Count(TypeDecorator[int]):
    """A whole number. A number above the BIGINT range becomes the largest BIGINT."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> int | None:
        return None if value is None else min(max(value, -LARGEST_NUMBER), LARGEST_NUMBER)


class CutText(TypeDecorator[str]):
    """A text for people. A very long text is cut with a mark."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else clean_text(value, LONGEST_TEXT)


class Name(TypeDecorator[str]):
    """A name that is looked up. A long name is shortened so that it stays unique.

    :param column: the type in the database.
    :param longest: in characters.
    """

    impl = Text
    cache_ok = True

    def __init__(self, column: TypeEngine[str], longest: int = LONGEST_NAME) -> None:
        super().__init__()
        self.column = column
        self.longest = longest

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str]:
        return dialect.type_descriptor(self.column)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else storable_name(value, self.longest)


class Json(TypeDecorator[JsonValue]):
    """JSON with cleaned texts."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: JsonValue, dialect: Dialect) -> JsonValue:
        return cleaned(value, LONGEST_TEXT)
