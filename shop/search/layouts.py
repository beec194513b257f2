"""Layouts: compose the answers of searches and lists from cached documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import orjson

from shop.config import SKIP_MAX
from shop.pages import SkipLayout, dump

from .cursor import write_cursor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Documents = Sequence[bytes]
    Joined = Sequence[Mapping[str, bytes]]


@dataclass(frozen=True)
class ItemFormat:
    """The members of a product that an item shows, and whether it shows the category."""

    fields: tuple[str, ...] = ()  # none for all
    category: bool = False

    def compose(self, rows: Documents, joined: Joined) -> orjson.Fragment:
        """Return the items as one JSON array."""
        if self.fields or self.category:
            rows = [self._compose_item(row, joined) for row in rows]
        return orjson.Fragment(b"[%b]" % b",".join(rows))

    def _compose_item(self, row: bytes, joined: Joined) -> bytes:
        product = orjson.loads(row)
        category = joined[0].get(str(product["category_id"])) if self.category else None
        if self.fields:
            product = {name: value for name, value in product.items() if name in self.fields}
        if category:
            product["category"] = orjson.Fragment(category)
        return dump(product)


@dataclass(frozen=True)
class AllProductsLayout(SkipLayout):
    """A page of all products by `skip`. Beyond SKIP_MAX, its next page begins after a cursor."""

    list_name: str = ""

    def compose(self, entries: Documents, rows: Documents, joined: Joined) -> tuple[bytes, str]:
        body, links = super().compose(entries, rows, joined)
        next_skip = self.skip + self.limit
        if next_skip > SKIP_MAX:
            last_id = orjson.loads(entries[0])["ids"][-1:]
            cursor = write_cursor(self.list_name, last_id)
            links = links.replace(f"<?skip={next_skip}&", f"<?after={cursor}&")
        return body, links


@dataclass(frozen=True)
class FoundProductsLayout:
    """A page of found products. Its entries are the total, then the facets, then the ids."""

    parameters: tuple[tuple[str, str], ...]  # of the link to the next page, without its start
    limit: int
    skip: int | None
    item_format: ItemFormat
    total: bool = False
    facets: tuple[str, ...] = ()

    def compose(self, entries: Documents, rows: Documents, joined: Joined) -> tuple[bytes, str]:
        page, counts = orjson.loads(entries[-1]), list(map(orjson.Fragment, entries))
        body: dict[str, Any] = {"items": self.item_format.compose(rows, joined)}
        if self.skip is not None:
            body["skip"] = self.skip
        body["limit"] = self.limit
        if "as_of" in page:
            body["as_of"] = page["as_of"]
        if self.total:
            body["total"] = counts.pop(0)
        if self.facets:
            body["facets"] = dict(zip(self.facets, counts, strict=False))
        return dump(body), self._link(page.get("next"))

    def _link(self, cursor: str | None) -> str:
        if cursor is None:
            return ""
        return f'<?{urlencode([*self.parameters, ("after", cursor)], safe=",")}>; rel="next"'


@dataclass(frozen=True)
class NamedProductsLayout:
    """The products of a request that names their ids or SKUs, and the names that are missing."""

    ids: tuple[int, ...]
    skus: tuple[str, ...]
    item_format: ItemFormat

    def compose(self, _entries: Documents, rows: Documents, joined: Joined) -> tuple[bytes, str]:
        skus_by_id = {product["id"]: product["sku"] for product in map(orjson.loads, rows)}
        skus = set(skus_by_id.values())
        missing = {
            "ids": [product_id for product_id in self.ids if product_id not in skus_by_id],
            "skus": [sku for sku in self.skus if sku not in skus],
        }
        return dump({"items": self.item_format.compose(rows, joined), "missing": missing}), ""


@dataclass(frozen=True)
class CategoryCountsLayout(SkipLayout):
    """A page of categories, each with the number of its active products."""

    def compose(self, entries: Documents, rows: Documents, joined: Joined) -> tuple[bytes, str]:
        [counts] = joined
        items = [b'%b,"product_count":%b}' % (row[:-1], counts.get(_id(row), b"0")) for row in rows]
        return super().compose(entries, items, ())


def _id(row: bytes) -> str:
    return str(orjson.loads(row)["id"])


@dataclass(frozen=True)
class SuggestionsLayout:
    """The suggestions of one entry, unchanged."""

    def compose(self, entries: Documents, _rows: Documents, _joined: Joined) -> tuple[bytes, str]:
        return entries[0], ""
