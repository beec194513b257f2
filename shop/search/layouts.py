"""How the answers of a search are made of documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import orjson

from shop.config import SKIP_MAX
from shop.pages import BySkip, dump

from .cursor import write_cursor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Documents = Sequence[bytes]
    Joined = Sequence[Mapping[str, bytes]]


@dataclass(frozen=True)
class Items:
    """Which members of a product are shown, and whether its category is."""

    fields: tuple[str, ...] = ()  # none: all
    category: bool = False

    def shown(self, rows: Documents, joined: Joined) -> orjson.Fragment:
        if self.fields or self.category:
            rows = [self._shown(row, joined) for row in rows]
        return orjson.Fragment(b"[%b]" % b",".join(rows))

    def _shown(self, row: bytes, joined: Joined) -> bytes:
        product = orjson.loads(row)
        category = joined[0].get(str(product["category_id"])) if self.category else None
        if self.fields:
            product = {name: value for name, value in product.items() if name in self.fields}
        if category:
            product["category"] = orjson.Fragment(category)
        return dump(product)


@dataclass(frozen=True)
class Plain(BySkip):
    """A page of all products by `skip`; where that ends, the next page is one by `after`."""

    question: str = ""

    def compose(self, entries: Documents, rows: Documents, joined: Joined) -> tuple[bytes, str]:
        body, links = super().compose(entries, rows, joined)
        following = self.skip + self.limit
        if following > SKIP_MAX:
            last = orjson.loads(entries[0])["ids"][-1:]
            cursor = write_cursor(self.question, last)
            links = links.replace(f"<?skip={following}&", f"<?after={cursor}&")
        return body, links


@dataclass(frozen=True)
class Found:
    """A page of what was found: the total comes first, then the facets, and the ids last."""

    parameters: tuple[tuple[str, str], ...]  # of the next page, but for where it begins
    limit: int
    skip: int | None
    items: Items
    total: bool = False
    facets: tuple[str, ...] = ()

    def compose(self, entries: Documents, rows: Documents, joined: Joined) -> tuple[bytes, str]:
        page, counts = orjson.loads(entries[-1]), list(map(orjson.Fragment, entries))
        body: dict[str, Any] = {"items": self.items.shown(rows, joined)}
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
class Chosen:
    """Products that were asked for one by one, and what there is not of them."""

    ids: tuple[int, ...]
    skus: tuple[str, ...]
    items: Items

    def compose(self, _entries: Documents, rows: Documents, joined: Joined) -> tuple[bytes, str]:
        found = {product["id"]: product["sku"] for product in map(orjson.loads, rows)}
        known = set(found.values())
        missing = {
            "ids": [one for one in self.ids if one not in found],
            "skus": [one for one in self.skus if one not in known],
        }
        return dump({"items": self.items.shown(rows, joined), "missing": missing}), ""


@dataclass(frozen=True)
class Counted(BySkip):
    """A page of categories, each with the number of its active products."""

    def compose(self, entries: Documents, rows: Documents, joined: Joined) -> tuple[bytes, str]:
        [counts] = joined
        shown = [b'%b,"product_count":%b}' % (row[:-1], counts.get(_id(row), b"0")) for row in rows]
        return super().compose(entries, shown, ())


def _id(row: bytes) -> str:
    return str(orjson.loads(row)["id"])


@dataclass(frozen=True)
class Completions:
    """What completes a text, as it was found."""

    def compose(self, entries: Documents, _rows: Documents, _joined: Joined) -> tuple[bytes, str]:
        return entries[0], ""
