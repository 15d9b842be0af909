"""Drive AEM Guides bulk processing from Airflow: start, follow, log, archive, cancel, resume, reconcile."""

from __future__ import annotations

__version__ = "0.1.0"
