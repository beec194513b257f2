"""Describe fields, schemas and paths as JSON Schema."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from flask_smorest.spec.plugins import FlaskPlugin
from marshmallow import missing

from shop.fields import CommaList

from .problem_schemas import example

if TYPE_CHECKING:
    from collections.abc import Mapping

    from marshmallow.fields import Field
    from werkzeug.routing import Rule


class SchemaConverter(OpenAPIConverter):
    """Describe a schema by its docstring and its EXAMPLE, and the defaults of a body in words.

    Clients are generated from the document. A generated client sends a `default` of a body by
    itself, or requires the member of its caller. A PATCH would then overwrite members that the
    caller never named.
    """

    def init_attribute_functions(self) -> None:
        super().init_attribute_functions()  # type: ignore[no-untyped-call]
        self.attribute_functions.remove(self.field2default)

    def field2property(self, field: Field[Any]) -> dict[str, Any]:
        found: dict[str, Any] = super().field2property(field)
        if None in found.get("enum", ()):  # generators make a type of each value in such an enum
            values = [value for value in found.pop("enum") if value is not None]
            del found["type"]
            found["anyOf"] = [{"type": "string", "enum": values}, {"type": "null"}]
        return found

    def schema2jsonschema(self, schema: Any) -> dict[str, Any]:
        found: dict[str, Any] = super().schema2jsonschema(schema)  # type: ignore[no-untyped-call]
        if text := type(schema).__doc__:
            found["description"] = text
        if example := getattr(schema, "EXAMPLE", None):
            found["examples"] = [example]
        return found

    def fields2jsonschema(
        self, fields: Mapping[str, Field[Any]], *, partial: Any = None
    ) -> dict[str, Any]:
        found: dict[str, Any] = super().fields2jsonschema(  # type: ignore[no-untyped-call]
            fields, partial=partial
        )
        for name, field in fields.items():
            if field.load_default is not missing and not partial:
                member = found["properties"][name]
                default = json.dumps(field.load_default)
                text = f"{member.get('description', '')} Default: `{default}`."
                member["description"] = text.strip()
        return found

    def _field2parameter(self, field: Field[Any], *, name: str, location: str) -> dict[str, Any]:
        found: dict[str, Any] = super()._field2parameter(field, name=name, location=location)
        if isinstance(field, CommaList):
            found["schema"] = field.text | {"examples": field.metadata["examples"]}
        if field.load_default is not missing:
            found["schema"]["default"] = field.load_default
        return found


class SchemaPlugin(MarshmallowPlugin):
    """Make components of marshmallow's schemas, named after their classes without `Schema`."""

    Converter = SchemaConverter


class PathPlugin(FlaskPlugin):  # type: ignore[misc]
    """Describe the ids in a path, and add examples of problems to its calls."""

    def rule_to_params(self, rule: Rule) -> list[dict[str, Any]]:
        params: list[dict[str, Any]] = super().rule_to_params(rule)
        for param in params:
            param["description"] = f"The id of the {param['name'].removesuffix('_id')}."
        return params

    def path_helper(
        self, rule: Rule, operations: dict[str, Any], parameters: list[Any], **options: Any
    ) -> str:
        path: str = super().path_helper(rule, operations, parameters, **options)
        path_example = re.sub("{[^}]*}", "7", path)
        for operation in operations.values():
            of_session = operation["security"] == [{"session": []}]
            for status, response in operation["responses"].items():
                for content in response.get("content", {}).values():
                    if int(status) >= HTTPStatus.BAD_REQUEST:
                        content["example"] = example(
                            int(status), path_example, of_session=of_session
                        )
        return path


def operation_id(view_name: str) -> str:
    """Return the name of a view in camel case."""
    first, *others = view_name.split("_")
    return first + "".join(map(str.capitalize, others))
