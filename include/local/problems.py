"""Errors that keep the local stack from running, with their remedies."""

from __future__ import annotations


class StackError(Exception):
    """The stack cannot start or continue. The text says what is wrong and what to do."""
