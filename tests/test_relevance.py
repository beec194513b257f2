"""What buyers look for in the demo catalogue, and the judge of what they are shown."""

from __future__ import annotations

import unicodedata
from collections import Counter
from datetime import UTC, datetime

from relevance.judge import judge, queries

from shop.ops.demo import CATALOGUE
from shop.ops.demo_products import demo_products
from shop.ops.seed import DEMO_PRODUCTS, DEMO_SEED

KINDS = {"exact": 50, "prefix": 40, "typo": 50, "accent": 30, "words": 30}


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
