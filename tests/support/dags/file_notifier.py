"""A notifier that appends to a file, so that tests see what users would get."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from airflow.sdk import BaseNotifier, Context


class FileNotifier(BaseNotifier):
    """Append the rendered text to a file."""

    template_fields: Sequence[str] = ("text",)

    def __init__(self, file: str, text: str) -> None:
        super().__init__()
        self.file = file
        self.text = text

    def notify(self, context: Context) -> None:
        """Write the text."""
        with Path(self.file).open("a", encoding="utf-8") as target:
            target.write(self.text + "\n")
