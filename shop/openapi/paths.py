"""The ids of rows in paths."""

from __future__ import annotations

from typing import Any

from werkzeug.exceptions import NotFound
from werkzeug.routing import IntegerConverter

from shop.fields import ID_MAX, INTEGER_MAX


class RowId(IntegerConverter):
    """The id of a row in a path. What cannot be one is not found, whatever the method."""

    regex = "[1-9][0-9]{0,9}"
    MOST = INTEGER_MAX

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Return what the API's document says of it."""
        return {"type": "integer", "minimum": 1, "maximum": cls.MOST, "examples": [7]}

    def to_python(self, value: str) -> int:
        # The bounds of werkzeug's own converter answer 405 where a path has several routes.
        if int(value) > self.MOST:
            raise NotFound
        return int(value)


class LongId(RowId):
    """The id of a row of what grows with traffic."""

    regex = "[1-9][0-9]{0,15}"
    MOST = ID_MAX

    @classmethod
    def schema(cls) -> dict[str, Any]:
        return super().schema() | {"format": "int64"}
