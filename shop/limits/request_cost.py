"""The cost of a request, in requests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import request

from shop.caller import current_caller

if TYPE_CHECKING:
    from collections.abc import Callable

    Cost = int | Callable[[], int]


@dataclass(frozen=True)
class PerRows:
    """The cost of a page: 1 for every `rows` rows of its size, rounded up."""

    rows: int
    default: int  # page size, if the request does not say
    most: int  # largest page size; a larger one is refused, and costs 1

    def __call__(self) -> int:
        text = request.args.get("limit", "")
        page_size = int(text) if re.fullmatch("[0-9]{1,18}", text) else self.default
        return max(1, -(-page_size // self.rows)) if page_size <= self.most else 1

    def __str__(self) -> str:
        return f"1 for each {self.rows} rows"


@dataclass(frozen=True)
class PerRowsOfSession(PerRows):
    """The cost of a page for a session, which anybody can open; the holder of a key pays 1."""

    def __call__(self) -> int:
        return super().__call__() if current_caller().session_id else 1

    def __str__(self) -> str:
        return f"{super().__str__()} with a session"
