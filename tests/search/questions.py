"""The queries of products: each parameter with values that distinguish answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from .oracle import Question

if TYPE_CHECKING:
    from collections.abc import Mapping

VALUES = {
    "q": ["oak", "OAK DESK", "tab", "cafe ta", "éclair", "garden -table", '"oak desk"', "strasse",
          "möb", '"table garden"', "tab-001", "x1.y", "the gard", "xq", "-oak", "!!!", "mobel oak"],
    "category_id": ["1", "3", "3,67", "67,2,3", "999", "1,1"],
    "min_price": ["0.01", "2", "10.00", "10.005", "9999999999"],
    "max_price": ["0.5", "10", "19.899", "20.000", "0"],
    "currency": ["EUR", "USD", "KWD"],
    "in_stock": ["true", "false"],
    "active": ["true", "false"],
    "id": ["1", "3,1,2,999,1", "2147483647"],
    "sku": ["TAB-001", "x2.Y,TAB-003,tab-001,x2.Y", "TAB-001,nothing"],
    "sort": ["id", "price", "-price", "name", "created_at", "-created_at", "best_selling",
             "relevance"],
    "limit": ["1", "3", "100"],
    "skip": ["0", "2", "10000"],
    "total": ["true", "false"],
    "facets": ["category", "price,in_stock", "in_stock,category,price"],
    "fields": ["id", "name,price", "sku,category_id,id"],
    "include": ["category"],
}  # fmt: skip
# Of each pair of parameters these are enough to try each with each.
FEW = {name: values[:3] if name != "sort" else values for name, values in VALUES.items()}
NEEDS_KEY = "active"
LISTS = ("category_id", "facets", "fields")


@st.composite
def questions(draw: st.DrawFn) -> Question:
    """Draw a query; most are of lists, and fit together."""
    names = set(draw(st.sets(st.sampled_from(sorted(VALUES)), max_size=6)))
    if draw(st.integers(0, 9)):
        names -= {"id", "sku"}
    params = {name: draw(st.sampled_from(VALUES[name])) for name in sorted(names)}
    if params.get("sort") == "relevance" and "q" not in params:
        del params["sort"]
    return Question(params, key=NEEDS_KEY in params or draw(st.booleans()))


def written_otherwise(params: Mapping[str, str]) -> dict[str, str]:
    """Write the same query in another order, and its lists too."""
    turned = dict(reversed(list(params.items())))
    for name in LISTS:
        if name in turned:
            turned[name] = ",".join(reversed(turned[name].split(",")))
    return turned
