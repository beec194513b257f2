"""The ids of rows in paths."""

from __future__ import annotations

from typing import Any

from werkzeug.exceptions import NotFound
from werkzeug.routing import IntegerConverter

from shop.fields import ID_MAX, INTEGER_MAX


class RowId(IntegerConverter):
    """The id of a row in a path. A text that cannot be an id is 404, whatever the method."""

    regex = "[1-9][0-9]{0,9}"
    MOST = INTEGER_MAX

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Return the JSON Schema of the id."""
        return {"type": "integer", "minimum": 1, "maximum": cls.MOST, "examples": [7]}

    def to_python(self, value: str) -> int:
        # With the bounds of werkzeug's own converter, a path with several routes is 405 instead.
        if int(value) > self.MOST:
            raise NotFound
        return int(value)


class LongId(RowId):
    """The id of a row in a table that grows with traffic."""

    regex = "[1-9][0-9]{0,15}"
    MOST = ID_MAX

    @classmethod
    def schema(cls) -> dict[str, Any]:
        return super().schema() | {"format": "int64"}
