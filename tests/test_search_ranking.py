"""Pages of what a search finds: each row is on one, and the best come first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, text

from shop.extensions import db
from shop.fields import INTEGER_MAX
from shop.products.models import Product
from shop.search import matching, ranking
from shop.search.matching import build_matcher
from shop.search.ranking import RankedRow, RankingCursor, read_ranked_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Shop
    from flask import Flask

LIMIT = 7


@pytest.fixture
def app(a_shop: Shop) -> Iterator[Flask]:
    """An application in its context, with 200 desks of ten names."""
    a_shop.create_category()
    with a_shop.app.app_context():
        write(
            "INSERT INTO products (name, price, stock, category_id) "
            "SELECT 'Desk' || repeat(' lamp', n % 10), 1, 1, 1 FROM generate_series(1, 200) AS n"
        )
        yield a_shop.app


def write(statement: str) -> None:
    with db.engine.begin() as connection:  # beneath the guard of what is cached
        connection.execute(text(statement))


def pages(q: str, between: Callable[[int], None] = lambda _: None) -> Iterator[list[RankedRow]]:
    """Yield all pages of what is found, and do something after each."""
    after: RankingCursor | None = None
    for number in range(1000):
        found = build_matcher(q)
        rows, boundary = read_ranked_page(found, [Product.active.is_(True)], after, LIMIT)
        yield rows
        if not rows:
            return
        after = RankingCursor(rows[-1], boundary)
        db.session.rollback()
        between(number)
    pytest.fail("the pages do not end")


def order_of(q: str) -> list[int]:
    found = build_matcher(q)
    return list(
        db.session.scalars(
            db.select(Product.id)
            .where(found.condition, Product.active)
            .order_by(found.score.desc(), Product.id)
        )
    )


def test_few_rows_are_all_ranked(app: Flask) -> None:
    found = [row.id for page in pages("desk") for row in page]
    assert found == order_of("desk")
    assert len(found) == 200


@pytest.mark.parametrize("candidates", [1, 10, 199, 200, 201])
def test_the_first_of_many_rows_are_ranked_and_the_others_follow(
    app: Flask, monkeypatch: pytest.MonkeyPatch, candidates: int
) -> None:
    monkeypatch.setattr(ranking, "CANDIDATES_MAX", candidates)
    monkeypatch.setattr(ranking, "WINDOW", 3)
    found = [row.id for page in pages("desk") for row in page]
    best = [one for one in order_of("desk") if one <= candidates]
    assert found == best + list(range(candidates + 1, 201))


@pytest.mark.parametrize("candidates", [20, 1000])
@pytest.mark.parametrize("window", [1, 50, 16_384])
def test_no_row_is_lost_or_repeated_while_others_come_and_go(
    app: Flask, monkeypatch: pytest.MonkeyPatch, candidates: int, window: int
) -> None:
    monkeypatch.setattr(ranking, "CANDIDATES_MAX", candidates)
    monkeypatch.setattr(ranking, "WINDOW", window)
    stay = {one for one in order_of("desk") if one % 3 == 0}
    db.session.rollback()

    def change(number: int) -> None:
        if number > 20:
            return
        write(
            "INSERT INTO products (name, price, stock, category_id) VALUES ('Desk lamp', 1, 1, 1)"
        )
        write(f"DELETE FROM products WHERE id = {3 * number + 1}")
        write(f"UPDATE products SET name = 'A new desk' WHERE id = {199 - 3 * number}")
        write("UPDATE products SET stock = stock + 1")  # and so moves each row

    found = [row.id for page in pages("desk", change) for row in page]
    assert stay <= set(found)
    assert all(found.count(one) == 1 for one in stay)


def test_a_search_that_finds_nothing_has_an_empty_page(app: Flask) -> None:
    assert list(pages("chair")) == [[]]


def test_each_statement_of_a_page_is_planned_for_all_its_rows(app: Flask) -> None:
    """A plan for the first rows alone would walk an index until it meets them."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    list(pages("desk"))
    event.remove(db.engine, "before_cursor_execute", note)
    limited = [one for one in sent if "LIMIT" in one and "products.id" in one]
    assert limited
    assert all(one.startswith("WITH found AS MATERIALIZED") for one in limited)


def plan(statement: Any) -> str:
    sql = statement.compile(db.engine, compile_kwargs={"literal_binds": True})
    db.session.execute(text("SET LOCAL enable_seqscan = off"))  # the table is small
    explained = text(f"EXPLAIN (VERBOSE) {sql}".replace(":", "\\:"))
    return "\n".join(db.session.scalars(explained))


@pytest.mark.parametrize("q", ["desk", "desk lamp", '"desk lamp" -oak', "dekk", "garden lamp"])
def test_words_are_found_in_their_index_and_no_row_is_parsed(app: Flask, q: str) -> None:
    found = build_matcher(q)
    explained = plan(db.select(Product.id, found.score).where(found.condition))
    assert "ix_products_words" in explained
    assert "to_tsvector" not in explained
    assert "shop_product_words" not in explained


def test_a_word_that_nothing_has_is_looked_up_without_reading_the_table(app: Flask) -> None:
    write(
        "INSERT INTO products (name, price, stock, category_id) "
        "SELECT 'Chair', 1, 1, 1 FROM generate_series(1, 5000)"
    )
    write("ANALYZE products")
    scans = "SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = 'products'"
    with db.session.begin():
        before = db.session.scalar(text(scans))
        build_matcher("desq teapot")
        assert db.session.scalar(text(scans)) == before


def test_no_plan_is_compiled(app: Flask) -> None:
    assert db.session.scalar(text("SHOW jit")) == "off"


def test_the_boundary_of_few_rows_lets_new_rows_be_ranked(app: Flask) -> None:
    found = build_matcher("lamp")
    _, boundary = read_ranked_page(found, [], None, LIMIT)
    assert boundary == INTEGER_MAX


@pytest.mark.parametrize("skip", [0, 3, 9, 10, 11, 195, 199, 200])
def test_a_page_by_skip_continues_beyond_the_ranked_rows(
    app: Flask, monkeypatch: pytest.MonkeyPatch, skip: int
) -> None:
    monkeypatch.setattr(ranking, "CANDIDATES_MAX", 10)
    best = [one for one in order_of("desk") if one <= 10]
    expected = [*best, *range(11, 201)][skip : skip + 20]
    answer = app.test_client().get(f"/products?q=desk&skip={skip}&limit=20")
    assert [row["id"] for row in answer.get_json()["items"]] == expected
    assert ("next" in answer.headers.get("Link", "")) == (skip + 20 < 200)


@pytest.mark.parametrize("boundary", [INTEGER_MAX, 200, 2**62])
def test_a_forged_boundary_ranks_no_more_rows(
    app: Flask, monkeypatch: pytest.MonkeyPatch, boundary: int
) -> None:
    monkeypatch.setattr(ranking, "CANDIDATES_MAX", 10)
    found = build_matcher("desk")
    forged = RankingCursor(RankedRow(0, 1_000_000), boundary)
    rows, settled = read_ranked_page(found, [], forged, 1000)
    ranked = [row.id for row in rows if row.score is not None]
    assert sorted(ranked) == list(range(1, 10 * ranking.GROWTH_MAX + 1))
    assert settled == max(ranked)
    assert [row.id for row in rows] == [*ranked, *range(settled + 1, 201)]


@pytest.mark.parametrize("new", [50, 1000])
def test_a_search_that_grows_during_a_walk_repeats_and_loses_no_row(
    app: Flask, monkeypatch: pytest.MonkeyPatch, new: int
) -> None:
    """All rows are ranked at first, and then there are more than may be."""
    monkeypatch.setattr(ranking, "CANDIDATES_MAX", 201)

    def grow(number: int) -> None:
        if number == 5:
            write(
                "INSERT INTO products (name, price, stock, category_id) "
                f"SELECT 'Desk lamp', 1, 1, 1 FROM generate_series(1, {new})"
            )

    found = [row.id for page in pages("desk", grow) for row in page]
    assert len(found) == len(set(found))
    assert set(range(1, 201)) <= set(found)


@pytest.fixture
def rare(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """The application, in which no words are frequent together."""
    monkeypatch.setattr(matching, "FIRST_IDS", 0)
    return app


@pytest.mark.parametrize(
    "q", ["desk lamp", "desk -lamp", '"desk lamp" lamp', "garden lamp", "dekk lamp"]
)
def test_a_search_without_the_index_of_words_finds_the_same(app: Flask, q: str) -> None:
    found = build_matcher(q)
    by_index, by_rows = (
        db.session.scalars(db.select(Product.id).where(one).order_by(Product.id)).all()
        for one in (found.condition, found.unindexed_condition)
    )
    assert by_index == by_rows != []


@pytest.mark.parametrize("q", ["desk lamp", '"desk lamp"', "garden lamp"])
def test_rare_words_are_looked_up_once_for_all_statements(rare: Flask, q: str) -> None:
    found = build_matcher(q)
    assert found.lists_ids
    assert "ix_products_words" not in plan(
        db.select(Product.id, found.score).where(found.condition)
    )
    assert [row.id for page in pages(q) for row in page] == order_of(q)


@pytest.mark.parametrize(("most", "lists_ids"), [(179, False), (180, True)])
def test_products_are_named_one_by_one_only_if_they_are_few(
    rare: Flask, monkeypatch: pytest.MonkeyPatch, most: int, *, lists_ids: bool
) -> None:
    expected = order_of("desk lamp")
    assert len(expected) == 180
    monkeypatch.setattr(matching, "LISTED_IDS_MAX", most)
    assert build_matcher("desk lamp").lists_ids == lists_ids
    assert [row.id for page in pages("desk lamp") for row in page] == expected


def test_words_that_many_products_have_that_are_not_sold_are_corrected(
    rare: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "LISTED_IDS_MAX", 10)
    write(
        "INSERT INTO products (name, price, stock, category_id, active) "
        "SELECT 'Desk lamb', 1, 1, 1, n = 0 FROM generate_series(1, 100) AS n"
    )
    write("INSERT INTO products (name, price, stock, category_id) VALUES ('Lamb', 1, 1, 1)")
    assert len(order_of("desk lamb")) == 180
    write("UPDATE products SET active = true WHERE id = (SELECT max(id) - 1 FROM products)")
    assert len(order_of("desk lamb")) == 1
