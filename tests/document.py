"""The API's document, and ways through it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Document:
    """The document, and ways through it."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.all = found
        self.operations = {
            operation["operationId"]: (method.upper(), path, operation)
            for path, method, operation in operations(found)
        }
        self.schemas: dict[str, Any] = found["components"]["schemas"]
        resource = Resource.from_contents(found, default_specification=DRAFT202012)
        self.registry: Registry[Any] = Registry().with_resource("urn:api", resource)

    def parameters(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, (_, path, operation) in self.operations.items():
            shared = self.all["paths"][path].get("parameters", [])
            for parameter in shared + operation.get("parameters", []):
                yield f"{name} {parameter['name']}", parameter

    def properties(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, schema in self.schemas.items():
            for member, found in schema["properties"].items():
                yield f"{name}.{member}", found

    def bodies(self) -> dict[str, dict[str, Any]]:
        """Return the schemas that a body can have, and those inside them."""
        found: dict[str, dict[str, Any]] = {}
        waiting = [
            operation["requestBody"]["content"]["application/json"]["schema"]
            for _, _, operation in self.operations.values()
            if "requestBody" in operation
        ]
        while waiting:
            for name in references(waiting.pop()):
                if name not in found:
                    found[name] = self.schemas[name]
                    waiting.append(found[name])
        return found

    def example(self, schema: dict[str, Any]) -> Any:
        """Return the example of a schema, composed of those of its parts."""
        if "$ref" in schema:
            return self.example(self.schemas[schema["$ref"].rpartition("/")[2]])
        if "examples" in schema or "enum" in schema:
            return (schema.get("examples") or schema["enum"])[0]
        if ways := schema.get("anyOf", schema.get("allOf")):
            return self.example(ways[0])
        if isinstance(schema["type"], list):  # or null
            schema = schema | {"type": schema["type"][0]}
        if schema["type"] == "object":
            return {name: self.example(part) for name, part in schema["properties"].items()}
        if schema["type"] == "array":
            return [self.example(schema["items"])]
        assert schema["type"] == "boolean", f"no example: {schema}"
        return True

    def validator(self, schema: dict[str, Any]) -> Draft202012Validator:
        absolute = rooted(schema)
        return Draft202012Validator(absolute, registry=self.registry)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield path, method, operation


def rooted(schema: Any) -> Any:
    """Return a schema whose references are to the document."""
    if isinstance(schema, list):
        return [rooted(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: f"urn:api{part}" if key == "$ref" else rooted(part) for key, part in schema.items()
    }


def references(part: Any, kind: str = "schemas") -> set[str]:
    """Return the names of the components of a kind that a part of the document refers to."""
    if isinstance(part, list):
        return set().union(*(references(inner, kind) for inner in part))
    if not isinstance(part, dict):
        return set()
    found = set().union(*(references(inner, kind) for inner in part.values()))
    prefix = f"#/components/{kind}/"
    reference = part.get("$ref")
    if isinstance(reference, str) and reference.startswith(prefix):
        found.add(reference.removeprefix(prefix))
    return found


def is_bounded(schema: dict[str, Any]) -> bool:
    """Tell whether a schema says how long or how large its values can be."""
    if "$ref" in schema or "enum" in schema:
        return True
    if ways := schema.get("anyOf", schema.get("allOf")):
        return all(is_bounded(part) for part in ways)
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return all(BOUNDS[kind](schema) for kind in kinds)


def _has_longest(schema: dict[str, Any]) -> bool:
    repeats = re.search(r"[*+]|,\}", schema.get("pattern", "*"))
    return "maxLength" in schema or not repeats


BOUNDS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "string": _has_longest,
    "integer": lambda schema: {"minimum", "maximum"} <= set(schema),
    "number": lambda schema: bool({"maximum", "exclusiveMaximum"} & set(schema)),
    "array": lambda schema: {"minItems", "maxItems"} <= set(schema),
    "boolean": lambda _: True,
    "null": lambda _: True,
}
