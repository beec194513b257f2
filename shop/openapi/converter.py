"""Converts fields, schemas and paths to JSON Schema."""

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

from .problems import example

if TYPE_CHECKING:
    from collections.abc import Mapping

    from marshmallow.fields import Field
    from werkzeug.routing import Rule


class Converter(OpenAPIConverter):
    """Describe a schema by its docstring and its EXAMPLE, and tell defaults of a body in words.

    Clients are generated from the document. A `default` in a body becomes a value that such a
    client sends by itself, or a member that its caller must give; a PATCH would then overwrite
    what its caller never named.
    """

    def init_attribute_functions(self) -> None:
        super().init_attribute_functions()  # type: ignore[no-untyped-call]
        self.attribute_functions.remove(self.field2default)

    def field2property(self, field: Field[Any]) -> dict[str, Any]:
        found: dict[str, Any] = super().field2property(field)
        if None in found.get("enum", ()):  # of which generators make a type for each value
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
                told = found["properties"][name]
                default = json.dumps(field.load_default)
                told["description"] = f"{told.get('description', '')} Default: `{default}`.".strip()
        return found

    def _field2parameter(self, field: Field[Any], *, name: str, location: str) -> dict[str, Any]:
        found: dict[str, Any] = super()._field2parameter(field, name=name, location=location)
        if isinstance(field, CommaList):
            found["schema"] = field.text | {"examples": field.metadata["examples"]}
        if field.load_default is not missing:
            found["schema"]["default"] = field.load_default
        return found


class Schemas(MarshmallowPlugin):
    """Make components of marshmallow's schemas, named as their classes without `Schema`."""

    Converter = Converter


class Paths(FlaskPlugin):  # type: ignore[misc]
    """Describe the ids in a path, and show the problems that its calls answer."""

    def rule_to_params(self, rule: Rule) -> list[dict[str, Any]]:
        params: list[dict[str, Any]] = super().rule_to_params(rule)
        for param in params:
            param["description"] = f"The id of the {param['name'].removesuffix('_id')}."
        return params

    def path_helper(
        self, rule: Rule, operations: dict[str, Any], parameters: list[Any], **options: Any
    ) -> str:
        path: str = super().path_helper(rule, operations, parameters, **options)
        called = re.sub("{[^}]*}", "7", path)
        for operation in operations.values():
            of_session = operation["security"] == [{"session": []}]
            for status, response in operation["responses"].items():
                for content in response.get("content", {}).values():
                    if int(status) >= HTTPStatus.BAD_REQUEST:
                        content["example"] = example(int(status), called, of_session=of_session)
        return path


def operation_id(view_name: str) -> str:
    """Return the name of a call: that of its view, in camel case."""
    first, *others = view_name.split("_")
    return first + "".join(map(str.capitalize, others))
