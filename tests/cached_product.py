"""The product that tests of the cache read and write, and the traces of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shop.extensions import cache

if TYPE_CHECKING:
    from conftest import Shop

KEY, PAGES = "products:id:1", "products:list:generation"


def stock(shop: Shop) -> Any:
    return shop.get("/products/1").get_json()["stock"]


def outcome(shop: Shop, path: str = "/products/1") -> str | None:
    return shop.get(path).headers["X-Cache"]


def outbox(shop: Shop) -> int:
    with shop.app.app_context():
        return len(cache.outbox)
