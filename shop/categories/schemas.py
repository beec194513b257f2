from __future__ import annotations

from typing import Any, ClassVar

from marshmallow import Schema, fields

from shop.fields import LINE, Input, Instant, Text, Whole, describe

NAME = describe("Its name, in one line; no other category has it.", "Garden")


class CategoryInput(Input):
    """A category, to create or to replace one."""

    name = Text(LINE, shortest=1, longest=100, required=True, metadata=NAME)


class CategoryPatch(CategoryInput):
    """The fields of a category to change; the others stay as they are."""

    EXAMPLE: ClassVar = {"name": "Garden"}

    def __init__(self, **options: Any) -> None:
        super().__init__(partial=True, **options)


class CategorySchema(Schema):
    """A category of products."""

    id = Whole(1, required=True, metadata=describe("Its id.", 1))
    name = fields.String(required=True, metadata=NAME)
    created_at = Instant(required=True, metadata=Instant.CREATED)
    updated_at = Instant(required=True, metadata=Instant.UPDATED)
