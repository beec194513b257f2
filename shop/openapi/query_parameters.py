"""Check the names of query parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shop.problems import InvalidFieldsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Request

    from shop.problems import FieldError, Path


def check_query(req: Request, known: Sequence[str]) -> None:
    """Raise InvalidFieldsError for unknown and for repeated parameters.

    If a misspelt filter were ignored, its answer would look like a filtered one.
    """
    wrong: dict[Path, FieldError] = {}
    for name, values in req.args.lists():
        if name not in known:
            wrong[name] = "Unknown parameter."
        elif len(values) > 1:
            wrong[name] = "Sent more than once."
    if wrong:
        takes = f"takes {', '.join(known)}, each once" if known else "takes no parameters"
        raise InvalidFieldsError(f"The query has parameters that are not valid: it {takes}.", wrong)
