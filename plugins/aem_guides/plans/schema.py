"""The JSON schema of a file of plans, for editors: `python -m aem_guides.plans.schema` writes it from the models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import GenerateJsonSchema

from aem_guides.plans.models import Plan

SCHEMA_FILE = Path(__file__).with_name("plans.schema.json")


class _File(BaseModel):
    """Write `plans:` and below it a list of plans."""

    model_config = ConfigDict(
        title="Plans of AEM Guides processing",
        extra="forbid",
        json_schema_extra={"$schema": GenerateJsonSchema.schema_dialect, "patternProperties": {"^x-": {}}},
    )
    plans: list[Plan] | None = Field(description="List plans, each beginning with `- name:`.")


class _WithoutTitles(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        """No, because the name of a field is enough."""
        return False


def render() -> str:
    """The content of the shipped file."""
    return json.dumps(_File.model_json_schema(schema_generator=_WithoutTitles), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(render(), encoding="utf-8")
