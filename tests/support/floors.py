"""The layers of `plugins/aem_guides`, from the bottom up."""

from __future__ import annotations

FLOORS = (
    ("protocol",),
    ("hooks",),
    ("runtime",),
    ("storage",),
    ("archive", "ledger", "results"),
    ("triggers",),
    ("assets", "reconciliation"),
    ("operators",),
    ("sensors",),
    ("pipelines",),
    ("plans",),
    ("console",),
)
"""The packages and modules, from the bottom up. Each imports from lower layers only."""
OUTSIDE = {"__init__", "provider_info", "workarounds"}
"""Modules that only Airflow and its plugin manager load."""
