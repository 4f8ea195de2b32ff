"""The published schemas, as validators that find the schemas beside them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

SCHEMAS = Path(__file__).parents[1] / "deploy" / "schemas"


@cache
def schema(name: str) -> Draft202012Validator:
    """The validator of deploy/schemas/NAME.schema.json."""

    def beside(uri: str) -> Resource[Any]:
        return Resource.from_contents(json.loads((SCHEMAS / uri).read_text()))

    data = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    Draft202012Validator.check_schema(data)
    registry: Registry[Any] = Registry(retrieve=beside)  # type: ignore[call-arg]  # attrs' alias is not seen
    return Draft202012Validator(data, registry=registry, format_checker=Draft202012Validator.FORMAT_CHECKER)
