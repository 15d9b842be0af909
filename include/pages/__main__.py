"""Regenerate the generated parts of the pages in `docs/`: `PYTHONPATH=include:plugins python -m pages`."""

from __future__ import annotations

from pages.generated import ROOT, current

if __name__ == "__main__":
    for name, text in current().items():
        (ROOT / name).write_text(text, encoding="utf-8")
