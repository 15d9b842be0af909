"""What MkDocs calls while it builds the site. A page that another change brings is stood in for until it is there."""

from __future__ import annotations

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

AWAITED = ("verification.md",)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add an empty page for each one that is not there yet."""
    for name in AWAITED:
        if files.get_file_from_path(name) is None:
            files.append(File.generated(config, name, content="# Verification\n\nThis page is being written.\n"))
    return files
