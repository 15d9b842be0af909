"""What keeps the local stack from running, said so that a person can mend it."""

from __future__ import annotations


class StackError(Exception):
    """The stack cannot start or go on; the text says what is amiss and what to do."""
