"""The demo catalogue of `flask seed` is worth searching, and the same for the same numbers."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from dev.demo.catalogue import CATALOGUE, KINDS
from dev.demo.products import demo_products
from dev.demo.seed import DEMO_PRODUCTS, DEMO_SEED
from dev.demo.words import BRANDS, SERIES_COUNT, plural, series_name
from shop.extensions import db
from shop.products.models import Product
from shop.products.schemas import ProductInput

if TYPE_CHECKING:
    from conftest import Shop

IDS = {name: number for number, name in enumerate(CATALOGUE, start=1)}
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def made(count: int = DEMO_PRODUCTS, number: int = DEMO_SEED) -> list[dict[str, Any]]:
    return list(demo_products(count, number, IDS, NOW))


def words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def folded(text: str) -> str:
    decomposed = unicodedata.normalize("NFD", text)
    return "".join(one for one in decomposed if not unicodedata.combining(one))


def families(products: list[dict[str, Any]]) -> Counter[str]:
    return Counter(one["name"].rsplit(", ", 1)[0] for one in products)


def brand(product: dict[str, Any]) -> str:
    return max((one for one in BRANDS if product["name"].startswith(f"{one} ")), key=len)


def share(counts: Counter[Any], first: int) -> float:
    return sum(count for _, count in counts.most_common(first)) / counts.total()


def test_the_same_numbers_make_the_same_products() -> None:
    assert made(300, 7) == made(300, 7)
    assert made(300, 7) == made(400, 7)[:300]
    assert made(300, 7) != made(300, 8)


def test_each_product_is_one_that_the_api_would_take() -> None:
    schema = ProductInput()
    for one in made(3000):
        given = {name: one[name] for name in ("name", "description", "sku", "stock", "category_id")}
        assert not schema.validate(given | {"price": str(one["price"])})


def test_every_category_is_filled_and_few_have_most_products() -> None:
    sizes = Counter(one["category_id"] for one in made())
    assert set(sizes) == set(IDS.values())
    assert 0.4 < share(sizes, 4) < 0.7
    assert set(Counter(one["category_id"] for one in made(120))) == set(IDS.values())


def test_few_brands_and_things_are_most_of_the_catalogue() -> None:
    products = made(5000)
    brands = Counter(map(brand, products))
    assert set(brands) == set(BRANDS)
    assert share(brands, 10) > 0.45
    names = sorted((thing.name for thing in KINDS), key=len, reverse=True)
    things = Counter(
        next(name for name in names if f" {name}, " in one["name"]) for one in products
    )
    assert set(things) == set(names)
    assert share(things, len(names) // 4) > 0.5


def test_most_prices_are_low_and_a_few_are_high() -> None:
    prices = sorted(one["price"] for one in made())
    mean, median = sum(prices) / len(prices), prices[len(prices) // 2]
    assert mean > median * 3 / 2
    assert prices[-1] > 10 * median
    assert {str(price)[-2:] for price in prices} == {"99", "95", "90", "00"}


def test_names_have_accents_and_ampersands() -> None:
    names = [one["name"] for one in made()]
    accented = [name for name in names if not name.isascii()]
    assert 0.2 < len(accented) / len(names) < 0.7
    assert any(" & " in name for name in names)
    letters = set("".join(names))
    assert letters >= set("éèêûçñöüøÅœŁß"), "letters of several languages, ligatures too"
    assert all(unicodedata.is_normalized("NFC", one["name"] + one["description"]) for one in made())


def test_loan_words_are_in_names_and_others_only_in_descriptions() -> None:
    products = made()
    named = set().union(*(words(one["name"]) for one in products))
    described = set().union(*(words(one["description"]) for one in products))
    assert named >= {"crème", "café", "sauté", "entrée", "appliqué"}
    assert described - named >= {"façade", "cliché", "voilà"}


def test_some_brands_differ_only_by_a_letter_or_an_accent() -> None:
    assert len(set(map(folded, BRANDS))) < len(BRANDS)
    assert {"Fennick", "Fennik"} <= set(BRANDS)
    assert any(two.startswith(f"{one} &") for one, two in combinations(BRANDS, 2))


def test_a_product_comes_in_several_colours_or_sizes() -> None:
    products = made()
    sizes = Counter(families(products).values())
    assert sizes[1] > 50
    assert sum(sizes[size] for size in range(3, 7)) > 50
    assert max(sizes) <= 6
    for first, second in pairwise(products):
        if first["name"].rsplit(", ", 1)[0] == second["name"].rsplit(", ", 1)[0]:
            assert first["description"] == second["description"]
            assert first["created_at"] == second["created_at"]
            assert first["sku"] != second["sku"]
    assert len({one["name"] for one in products}) > 0.95 * len(products)


def test_descriptions_have_words_that_other_products_are_called_by() -> None:
    products = made()
    for word in ("desk", "oak", "garden", "café", "headphones"):
        called = [one for one in products if word in words(one["name"])]
        described = [one for one in products if word in words(one["description"])]
        assert called, word
        assert [one for one in described if one not in called], word


def test_descriptions_have_the_plurals_of_names() -> None:
    described = " ".join(one["description"] for one in made(2000))
    for name in ("saucepan", "bookshelf", "chef's knife", "kitchen brush", "atlas", "headphones"):
        assert f" {plural(name)}" in described, name
    assert plural("bookshelf") == "bookshelves"
    assert plural("headphones") == "headphones"
    assert plural("hourglass") == "hourglasses"


def test_names_of_categories_are_words_of_products_elsewhere() -> None:
    elsewhere = {"Kitchen": "Clocks", "Garden": "Furniture", "Baby": "Home textiles"}
    for word, category in elsewhere.items():
        assert any(word.lower() in thing.name.split() for thing in CATALOGUE[category])


def test_a_large_catalogue_has_thousands_of_words_most_of_them_rare() -> None:
    counts: Counter[str] = Counter()
    for one in made(50_000):
        counts.update(words(one["name"]))
    assert len(counts) > 4000
    rare = sum(count <= 10 for count in counts.values())
    assert rare > len(counts) / 2
    assert counts.most_common(1)[0][1] > 3000


def test_each_series_has_a_name_of_its_own() -> None:
    assert len({series_name(rank) for rank in range(SERIES_COUNT)}) == SERIES_COUNT


def test_products_have_come_in_the_last_two_years(a_shop: Shop) -> None:
    before = datetime.now(UTC)
    result = a_shop.command("seed", "--products", "400")
    assert result.exit_code == 0, result.output
    with a_shop.app.app_context():
        rows = db.session.execute(select(Product.created_at, Product.updated_at)).all()
    ages = [before - row.created_at for row in rows]
    assert all(row.updated_at == row.created_at <= datetime.now(UTC) for row in rows)
    assert timedelta(days=650) < max(ages) < timedelta(days=731)
    assert min(ages) < timedelta(days=60)
    recent = sum(age < timedelta(days=365) for age in ages)
    assert 120 < recent < 280
