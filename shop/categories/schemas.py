from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields

from shop.fields import LINE, Instant, Text, Whole


class CategoryInput(Schema):
    name = Text(LINE, shortest=1, longest=100, required=True, metadata={"example": "Garden"})


class CategoryChanges(CategoryInput):
    """Any of those fields, alone."""

    def __init__(self, **options: Any) -> None:
        super().__init__(partial=True, **options)


class CategorySchema(Schema):
    id = Whole(1, required=True)
    name = fields.String(required=True)
    created_at = Instant(required=True, metadata=Instant.OUTPUT)
    updated_at = Instant(required=True, metadata=Instant.OUTPUT)


class CategoryPageSchema(Schema):
    items = fields.List(fields.Nested(CategorySchema), required=True)
    skip = Whole(0, required=True)
    limit = Whole(1, required=True)
