"""What a request costs, in requests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask import request

from shop.caller import caller

if TYPE_CHECKING:
    from collections.abc import Callable

    Cost = int | Callable[[], int]


@dataclass(frozen=True)
class PerRows:
    """A page costs 1 for each so many rows that it asks for, begun ones too."""

    rows: int
    default: int  # that it asks for by default
    most: int  # that it may ask for; more is refused, at the price of 1

    def __call__(self) -> int:
        text = request.args.get("limit", "")
        asked = int(text) if re.fullmatch("[0-9]{1,18}", text) else self.default
        return max(1, -(-asked // self.rows)) if asked <= self.most else 1

    def __str__(self) -> str:
        return f"1 for each {self.rows} rows"


@dataclass(frozen=True)
class PerRowsOfSession(PerRows):
    """What a page costs a session, which anybody can open; the holder of a key pays 1."""

    def __call__(self) -> int:
        return super().__call__() if caller().session_id else 1

    def __str__(self) -> str:
        return f"{super().__str__()} with a session"
