"""`flask search rebuild`: another configuration, and words that nothing has any more."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from conftest import await_true
from faults import before_statement, engine_of
from sqlalchemy import event, text
from test_search_words import Finder

from shop.extensions import db

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Make, Shop


def rebuild(shop: Shop) -> str:
    result = shop.command("search", "rebuild")
    assert result.exit_code == 0, result.output
    return str(result.output)


SPANISH = ("Mesa de habitación", "Sillas plegables", "Camión rojo", "Lámpara de mesa")


def test_words_of_a_language_are_found_by_their_stems(make_shop: Make) -> None:
    finder = Finder(make_shop(SEARCH_CONFIGURATION="spanish"))
    finder.add(*SPANISH)
    assert finder.find('"silla"') == finder.find('"habitaciones"') == []
    assert "indexed for spanish" in rebuild(finder.shop)
    for q in ("silla plegable", '"silla"', "sillas", "SILLA"):
        assert finder.find(q) == ["Sillas plegables"], q
    for q in ('"habitaciones"', '"habitacion"', "habitación", "habita"):
        assert finder.find(q) == ["Mesa de habitación"], q
    assert finder.find('"camiones"') == finder.find("camion") == ["Camión rojo"]
    assert finder.find("mesas de habitaciones") == ["Mesa de habitación"]
    assert finder.find("sillas del plegable") == [
        "Sillas plegables"
    ]  # a stop word is not asked for
    finder.add("Cuchillos")  # written since then
    assert finder.find('"cuchillo"') == ["Cuchillos"]


def test_a_word_that_is_known_by_its_stem_is_not_corrected(make_shop: Make) -> None:
    finder = Finder(make_shop(SEARCH_CONFIGURATION="spanish"))
    finder.add("Camión rojo", "Caminos")
    rebuild(finder.shop)
    assert finder.find("camiones") == ["Camión rojo"]


def test_german_words_are_found_by_their_stems(make_shop: Make) -> None:
    finder = Finder(make_shop(SEARCH_CONFIGURATION="german"))
    finder.add("Zwei Häuser", "Große Bücher")
    rebuild(finder.shop)
    assert finder.find('"haus"') == ["Zwei Häuser"]
    assert finder.find('"buch"') == finder.find('"buches"') == ["Große Bücher"]


def test_stems_are_computed_once_for_each_word_of_a_text(a_shop: Shop) -> None:
    """A text of one letter that unfolds to four words, again and again, holds its row no longer."""
    with db_of(a_shop) as connection:
        connection.execute(text("SET LOCAL track_functions = 'pl'"))
        made = "SELECT shop_lexemes(repeat(:t, 5000), 'D', 0, 'spanish')::tsvector"
        connection.execute(text(made), {"t": "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM} "})
        calls = "SELECT calls FROM pg_stat_xact_user_functions WHERE funcname = 'shop_stems'"
        assert connection.scalar(text(calls)) == 1


def test_the_name_of_a_category_has_stems_too(make_shop: Make) -> None:
    finder = Finder(make_shop(SEARCH_CONFIGURATION="spanish"))
    category = finder.shop.create_category("Lámparas")["id"]
    finder.add("Roja", category_id=category)
    rebuild(finder.shop)
    assert finder.find('"lámpara"') == ["Roja"]


def test_the_setting_alone_changes_nothing(make_shop: Make) -> None:
    finder = Finder(make_shop(SEARCH_CONFIGURATION="spanish"))
    finder.add(*SPANISH)
    rebuild(finder.shop)
    plain = Finder(make_shop())
    assert plain.find('"silla"') == ["Sillas plegables"]
    assert "indexed for simple" in rebuild(plain.shop)
    assert plain.find('"silla"') == finder.find('"silla"') == []
    assert finder.find("lampara") == ["Lámpara de mesa"]
    assert plain.scalar("SELECT count(*) FROM products WHERE words::text LIKE '%=%'") == 0


def test_a_configuration_that_postgresql_has_not_is_one_line(make_shop: Make) -> None:
    finder = Finder(make_shop(SEARCH_CONFIGURATION="klingon"))
    finder.add("Desk")
    result = finder.shop.command("search", "rebuild")
    assert result.exit_code == 1
    [error] = result.output.splitlines()
    assert error.startswith("Error: PostgreSQL has no SEARCH_CONFIGURATION klingon: it has ")
    assert "simple, spanish" in error
    assert finder.find("desk") == ["Desk"]


def test_words_that_no_product_has_are_deleted(a_shop: Shop) -> None:
    finder = Finder(a_shop)
    finder.add("Red kettle", "Blue kettle", sku=None)
    finder.shop.patch("/products/1", name="Pot", sku="RED-1")
    finder.shop.create_category("Old things")
    finder.shop.patch("/categories/2", name="New things")
    assert {"red", "old"} <= set(finder.words())
    assert "0 words came, 2 went" in rebuild(a_shop)
    assert finder.words() == ["blue", "garden", "kettle", "new", "pot", "things"]


def test_words_that_are_missing_or_there_twice_are_put_right(a_shop: Shop) -> None:
    finder = Finder(a_shop)
    finder.add("Red kettle")
    with db_of(a_shop) as connection:
        connection.execute(text("DELETE FROM search_words WHERE word = 'red'"))
        connection.execute(text("INSERT INTO search_words VALUES ('kettle'), ('kettle')"))
    assert "1 words came, 0 went" in rebuild(a_shop)
    assert finder.words() == ["garden", "kettle", "red"]


@contextmanager
def db_of(shop: Shop) -> Iterator[Any]:
    with shop.app.app_context(), db.engine.begin() as connection:
        yield connection


def test_a_word_that_is_used_again_during_its_deletion_stays(a_shop: Shop) -> None:
    finder = Finder(a_shop)
    finder.add("Red kettle", "Blue kettle")
    finder.shop.patch("/products/1", name="Pot")
    back = lambda: finder.add("Red pot")  # noqa: E731  (a word is found unused, and used again)
    with before_statement(engine_of(a_shop), "LOCK TABLE search_words IN SHARE ROW", back):
        assert "0 went" in rebuild(a_shop)
    assert "red" in finder.words()


def test_a_writer_that_waited_for_the_rebuild_sees_its_result(a_shop: Shop) -> None:
    """A word is deleted while a product with it waits, and enters again with that product."""
    finder = Finder(a_shop)
    finder.add("Red kettle")
    finder.shop.patch("/products/1", name="Pot")
    writer = threading.Thread(target=finder.add, args=["Red pot"])

    def write_meanwhile() -> None:
        writer.start()
        waits = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'search_words'::regclass"
        await_true(lambda: finder.scalar(waits))

    with before_statement(
        engine_of(a_shop), "DELETE FROM search_words\n    WHERE", write_meanwhile
    ):
        assert "2 went" in rebuild(a_shop)
    writer.join()
    assert finder.words() == ["garden", "pot", "red"]


def test_the_shop_sells_and_searches_while_it_is_rebuilt(make_shop: Make) -> None:
    finder = Finder(make_shop(SEARCH_CONFIGURATION="spanish"))
    finder.add(*SPANISH)
    before = finder.shop.get("/products/2").get_json()

    def sell() -> None:
        assert finder.shop.patch("/products/2/stock", delta=-1).status_code == 200
        assert finder.find("sillas") == ["Sillas plegables"]
        assert finder.find("plegab") == ["Sillas plegables"]

    with (
        before_statement(engine_of(finder.shop), "UPDATE categories SET words", sell),
        before_statement(engine_of(finder.shop), "SELECT word FROM search_words EXCEPT", sell),
    ):
        rebuild(finder.shop)
    after = finder.shop.get("/products/2").get_json()
    assert after["stock"] == before["stock"] - 2
    assert finder.find('"silla"') == ["Sillas plegables"]


def test_the_documents_of_products_stay_as_they_are(a_shop: Shop) -> None:
    finder = Finder(a_shop)
    finder.add("Desk")
    before = a_shop.get("/products/1")
    rebuild(a_shop)
    after = a_shop.get("/products/1")
    assert after.headers["X-Cache"] == "HIT"
    assert after.headers["ETag"] == before.headers["ETag"]


def test_cached_searches_are_forgotten_by_a_rebuild(make_shop: Make) -> None:
    shop = make_shop(SEARCH_CONFIGURATION="spanish")
    Finder(shop).add(*SPANISH)
    path = '/products?q="silla"'
    assert shop.get(path).get_json()["items"] == []
    assert shop.get(path).headers["X-Cache"] == "HIT"
    rebuild(shop)
    assert [one["id"] for one in shop.get(path).get_json()["items"]] == [2]


def test_a_product_that_is_committed_late_has_the_stems_too(make_shop: Make) -> None:
    """Its words were made before the configuration was chosen; the rebuild waits for its end."""
    finder = Finder(make_shop(SEARCH_CONFIGURATION="spanish"))
    finder.add("Lámpara")
    insert = "INSERT INTO products (name, price, stock, category_id) VALUES ('Sillas', 1, 1, 1)"
    with finder.shop.app.app_context():
        engine = db.engine
    with engine.connect() as writer:
        writer.execute(text(insert))

        def commit(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if "pg_locks" in statement or "SELECT word FROM search_words EXCEPT" in statement:
                writer.commit()  # after the first look at who writes, or when all are indexed

        event.listen(engine, "after_cursor_execute", commit)
        rebuild(finder.shop)
        event.remove(engine, "after_cursor_execute", commit)
    assert finder.find('"silla"') == ["Sillas"]


def test_a_second_rebuild_at_the_same_time_is_refused(a_shop: Shop) -> None:
    Finder(a_shop).add("Desk")
    told: list[str] = []

    def again() -> None:
        told.append(a_shop.command("search", "rebuild").output)

    with before_statement(engine_of(a_shop), "UPDATE categories SET words", again):
        rebuild(a_shop)
    assert told == ["Error: another flask search rebuild is at work\n"]


END_IDLE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND state LIKE 'idle in transaction%'
    AND pid NOT IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')
"""  # the one that has the lock may be idle


def test_a_rebuild_leaves_no_transaction_idle_while_products_are_indexed(make_shop: Make) -> None:
    """PostgreSQL would end it after some seconds, and a million products take minutes."""
    shop = make_shop(SEARCH_CONFIGURATION="spanish")
    finder = Finder(shop)
    finder.add(*SPANISH)
    keep(shop, '/products?q="silla"')
    with before_statement(
        engine_of(shop), "SELECT id FROM products", lambda: finder.scalar(END_IDLE)
    ):
        rebuild(shop)
    assert [one["id"] for one in shop.get('/products?q="silla"').get_json()["items"]] == [2]


@pytest.mark.parametrize("statement", ["UPDATE categories SET words", "UPDATE products SET words"])
def test_searches_are_forgotten_after_a_rebuild_that_stopped_in_the_middle(
    make_shop: Make, statement: str
) -> None:
    shop = make_shop(SEARCH_CONFIGURATION="spanish")
    finder = Finder(shop)
    finder.add(*SPANISH)
    keep(shop, "/products?q=silla")

    def stop() -> None:
        raise InterruptedError

    with before_statement(engine_of(shop), statement, stop):
        assert isinstance(shop.command("search", "rebuild").exception, InterruptedError)
    assert shop.get("/products?q=silla").headers["X-Cache"] == "MISS"


def keep(shop: Shop, path: str) -> None:
    """Let the cache have what a path answers."""
    shop.get(path)
    assert shop.get(path).headers["X-Cache"] == "HIT"
