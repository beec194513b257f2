"""Find the places of a request that a client can fill, by the API's own document."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from werkzeug.test import EnvironBuilder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Shop

    Environ = dict[str, Any]
    Write = Callable[[str], Environ]

# What the service, a library or a proxy may read of a request, besides what is documented.
HEADERS = ["Accept", "Authorization", "Content-Encoding", "Content-Type", "Cookie", "Host"]
HEADERS += ["If-Match", "If-Modified-Since", "If-None-Match", "Idempotency-Key", "Origin"]
HEADERS += ["Range", "X-Forwarded-For", "X-Forwarded-Proto", "X-Request-ID"]


class Call(NamedTuple):
    """One call of the document."""

    method: str
    path: str
    operation: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Place(NamedTuple):
    name: str
    write: Write  # the request that has a text there


class Places:
    """The places of one shop, and requests that are right but for one of them."""

    def __init__(self, shop: Shop) -> None:
        self._key = f"Bearer {shop.key}"
        self._session = shop.open_session()["Authorization"]
        self._document: dict[str, Any] = shop.get("/openapi.json").get_json()

    def call(self, method: str, path: str) -> Call:
        return next(one for one in self.calls() if (one.method, one.path) == (method, path))

    def calls(self) -> Iterator[Call]:
        for path, operations in self._document["paths"].items():
            for method, operation in operations.items():
                if method != "parameters":
                    shared = operations.get("parameters", [])
                    parameters = [*shared, *operation.get("parameters", [])]
                    yield Call(method.upper(), path, operation | {"parameters": parameters})

    def patterns(self) -> set[str]:
        """Every pattern of the document."""
        written = re.findall(r'"pattern": ("(?:[^"\\]|\\.)*")', json.dumps(self._document))
        return set(map(json.loads, written))

    def request(self, call: Call, body: bytes | None = None, **parts: str) -> Environ:
        """A request of a call, with parts of its environment as they are given."""
        path = re.sub(r"{(\w+)}", lambda one: "pay" if one[1] == "action" else "1", call.path)
        of_session = call.operation.get("security") == [{"session": []}]
        environ = EnvironBuilder(path, method=call.method, data=body).get_environ()
        environ["HTTP_AUTHORIZATION"] = self._session if of_session else self._key
        if body:
            environ["CONTENT_TYPE"] = "application/json"
        return environ | parts

    def parameters(self) -> Iterator[Place]:
        for call in self.calls():
            for parameter in map(self._resolved, call.operation["parameters"]):
                write = getattr(self, f"_in_{parameter['in']}")
                name = parameter["name"]
                yield Place(f"{call} {name}", partial(write, call, name))
        for call in (
            self.call("GET", "/products/{product_id}"),
            self.call("POST", "/cart/checkout"),
        ):
            for name in HEADERS:
                yield Place(f"{call} {name}", partial(self._in_header, call, name))

    def queries(self) -> Iterator[Place]:
        """The whole query of calls with parameters and without."""
        for call in (
            self.call("GET", "/products"),
            self.call("GET", "/orders"),
            self.call("GET", "/cart"),
            self.call("POST", "/sessions"),
        ):
            yield Place(f"{call}?", partial(self._with_query, call))

    def bodies(self) -> Iterator[Place]:
        """Every field and list of each schema of a body, and the body as a whole."""
        seen = set()
        for call in self.calls():
            if "requestBody" in call.operation:
                schema = call.operation["requestBody"]["content"]["application/json"]["schema"]
                for path in self._paths(schema):
                    if (json.dumps(schema), path) not in seen:
                        seen.add((json.dumps(schema), path))
                        name = ".".join([str(call), *path])
                        yield Place(name, self._in_body(call, schema, path))

    def _with_query(self, call: Call, text: str) -> Environ:
        return self.request(call, QUERY_STRING=text)

    def _in_path(self, call: Call, name: str, text: str) -> Environ:
        path = call.path.replace("{" + name + "}", text).replace("{order_id}", "1")
        return self.request(call, PATH_INFO=path.encode("utf-8", "replace").decode("latin-1"))

    def _in_query(self, call: Call, name: str, text: str) -> Environ:
        return self.request(call, QUERY_STRING=f"{name}={quote(text, errors='replace')}")

    def _in_header(self, call: Call, name: str, text: str) -> Environ:
        key = name.upper().replace("-", "_")
        key = key if key == "CONTENT_TYPE" else f"HTTP_{key}"
        before = "Bearer " if name == "Authorization" else ""
        value = before + text.encode("latin-1", "replace").decode("latin-1")
        return self.request(call, b"{}" if call.method == "POST" else None, **{key: value})

    def _in_body(self, call: Call, schema: dict[str, Any], path: tuple[str, ...]) -> Write:
        before, after = json.dumps(self._example(schema, path)).split('"HERE"')
        return lambda text: self.request(call, f"{before}{text}{after}".encode())

    def _paths(self, schema: dict[str, Any]) -> Iterator[tuple[str, ...]]:
        schema = self._resolved(schema)
        yield ()
        for name, inner in schema.get("properties", {}).items():
            yield from ((name, *rest) for rest in self._paths(inner))
        if "items" in schema:
            yield from (("0", *rest) for rest in self._paths(schema["items"]))

    def _example(self, schema: dict[str, Any], marked: tuple[str, ...] | None = None) -> Any:
        """A value of a schema, with a mark at one place of it."""
        if marked == ():
            return "HERE"
        schema, inside = self._resolved(schema), marked or ("",)
        if "items" in schema:
            return [self._example(schema["items"], marked[1:] if marked else None)]
        if "properties" in schema:
            return {
                name: self._example(inner, inside[1:] if name == inside[0] else None)
                for name, inner in schema["properties"].items()
            }
        return schema.get("examples", schema.get("enum", [True]))[0]

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return the target of a reference of the document."""
        while "$ref" in schema:
            found: Any = self._document
            for name in schema["$ref"].removeprefix("#/").split("/"):
                found = found[name]
            schema = found
        return schema
