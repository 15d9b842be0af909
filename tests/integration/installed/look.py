"""Runs in an environment with the wheel. Prints where the package is and what Airflow knows of it."""

from __future__ import annotations

import json
import sys

from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
from airflow.providers_manager import ProvidersManager

import aem_guides
from aem_guides.hooks.hook import AemGuidesHook

if __name__ == "__main__":
    (form,) = (hook for hook in HookMetaService.hook_meta_data() if hook.connection_type == "aem_guides")
    links = ProvidersManager().extra_links_class_names  # type: ignore[no-untyped-call]  # Airflow's own has no types
    print(
        json.dumps(
            {
                "package": aem_guides.__file__,
                "path": sys.path,
                "title": form.hook_name,
                "fields": list(form.extra_fields or {}),
                "tested": AemGuidesHook().test_connection(),
                "links": sum(name.startswith("aem_guides.") for name in links),
            }
        )
    )
