"""A search of the demo catalogue shows what is looked for first, however it is typed.

`pytest -s tests/test_search_relevance.py` prints how often, and what is not found.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from relevance.judge import SHOWN, judge, queries

from dev.demo.catalogue import CATALOGUE
from dev.demo.products import demo_products
from dev.demo.seed import DEMO_PRODUCTS, DEMO_SEED

if TYPE_CHECKING:
    from conftest import Make

OVERALL, TYPOS = 0.95, 0.9
KINDS = {"exact": 50, "prefix": 40, "typo": 50, "accent": 30, "words": 30}


def test_a_right_product_is_among_the_first(make_shop: Make) -> None:
    shop = make_shop(RATE_LIMIT_ENABLED="false")
    assert shop.command("seed").exit_code == 0

    def search(text: str) -> list[str]:
        found = shop.get("/products", query_string={"q": text, "limit": SHOWN})
        assert found.status_code == 200, found.text
        return [product["sku"] for product in found.get_json()["items"]]

    verdict = judge(search)
    print(f"\n{verdict}")  # noqa: T201  (for `pytest -s`)
    assert verdict.share() >= OVERALL, str(verdict)
    assert verdict.share("typo") >= TYPOS, str(verdict)


def test_the_queries_are_of_all_kinds_and_about_products_that_are_there() -> None:
    asked = queries()
    assert Counter(query.kind for query in asked) == KINDS
    assert len({query.text for query in asked}) == len(asked)
    ids = {name: number for number, name in enumerate(CATALOGUE, start=1)}
    made = demo_products(DEMO_PRODUCTS, DEMO_SEED, ids, datetime.now(UTC))
    skus = {product["sku"] for product in made}
    for query in asked:
        assert query.right, query
        assert query.right <= skus, query
    assert any(not unicodedata.is_normalized("NFC", query.text) for query in asked)


def test_the_judge_sees_what_is_shown_and_nothing_beyond() -> None:
    right = {query.text: min(query.right) for query in queries()}
    assert judge(lambda text: ["X", "Y", right[text]]).share() == 1
    assert judge(lambda text: ["X", "Y", "Z", right[text]]).share() == 0
    verdict = judge(lambda text: [right[text]] if text != "saucpan" else [])
    assert verdict.share("typo") == 49 / 50
    assert "typo      49 of  50   98.0%" in str(verdict)
    assert "'saucpan' shows nothing, not KIT-0000006, KIT-0000438, KIT-0000439" in str(verdict)
