"""Drive AEM Guides bulk processing from Airflow: start, follow, log, archive, cancel, resume, reconcile."""

from __future__ import annotations

from aem_guides.runtime.earlier_names import keep_earlier_names

__version__ = "0.2.0"

keep_earlier_names()
