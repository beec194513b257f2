"""Finding products by words: what a search of each kind finds, and in which order."""

from __future__ import annotations

import string
import subprocess
import sys
from subprocess import PIPE
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as bounds
from hypothesis import strategies as st
from sqlalchemy import func, select, text

from shop.extensions import db
from shop.products.models import Product
from shop.search.matching import build_matcher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Shop


class Finder:
    """A shop, and the names of what is found in it, the best first."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop

    def add(self, *names: str, **fields: Any) -> None:
        for name in names:
            self.shop.create_product(name=name, **fields)

    def find(self, q: str) -> list[str]:
        with self.shop.app.app_context():
            found = build_matcher(q)
            names = select(Product.name).where(found.condition)
            return list(db.session.scalars(names.order_by(found.score.desc(), Product.id)))

    def scalar(self, statement: str, **values: Any) -> Any:
        with self.shop.app.app_context():
            return db.session.scalar(text(statement), values)

    def words(self) -> list[str]:
        with self.shop.app.app_context():
            return list(db.session.scalars(text("SELECT word FROM search_words ORDER BY word")))


@pytest.fixture
def finder(a_shop: Shop) -> Finder:
    return Finder(a_shop)


@pytest.mark.parametrize(
    ("written", "folded"),
    [
        ("Crème BRÛLÉE", "creme brulee"), ("Straße", "strasse"), ("Smørrebrød", "smorrebrod"),
        ("Cafe\N{COMBINING ACUTE ACCENT}", "cafe"), ("Łódź", "lodz"), ("Ærø", "aero"),
        ("a-b/c.d@e_f", "a b c d e f"), ("chef's  knife", "chef s knife"), ("½ l", "1 2 l"),
        ("Müller & Söhne®", "muller sohne r"), ("soft\N{SOFT HYPHEN}hyphen", "softhyphen"),
        ("\N{LEFT DOUBLE QUOTATION MARK}x\N{EM DASH}y\N{HORIZONTAL ELLIPSIS}", "x y"),
        ("日本・東京", "日本 東京"), ("\N{FULLWIDTH DIGIT FIVE}g", "5g"), ("☕ tea!", "tea"),
    ],
)  # fmt: skip
def test_texts_are_folded_to_plain_words(finder: Finder, written: str, folded: str) -> None:
    assert finder.scalar("SELECT shop_fold(:written)", written=written) == folded


def test_capitals_of_other_scripts_are_folded(finder: Finder) -> None:
    if not finder.scalar("SELECT 1 FROM pg_collation WHERE collname = 'und-x-icu'"):
        pytest.skip("this PostgreSQL has no ICU")
    assert finder.scalar("SELECT shop_fold('ЁЛКА Йод ΟΔΟΣ οδός İstanbul')") == (
        "елка иод οδοσ οδοσ istanbul"
    )
    finder.add("Настольная лампа", "Чайник")
    assert finder.find("ЛАМПА") == ["Настольная лампа"]
    assert finder.find("чаиник") == ["Чайник"]
    assert finder.find("ламап") == ["Настольная лампа"]


@given(written=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
@bounds(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_text_is_folded_to_plain_words(finder: Finder, written: str) -> None:
    folded = finder.scalar("SELECT shop_fold(:written)", written=written)
    assert folded == " ".join(folded.split())
    assert not set(folded) & (set(string.punctuation) | set(string.ascii_uppercase))
    assert finder.scalar("SELECT shop_fold(:written)", written=folded) == folded


def test_accents_and_case_do_not_count(finder: Finder) -> None:
    finder.add("Crème-brûlée-Set", "Kännchen", "Straßenkarte")
    assert finder.find("creme BRULEE") == ["Crème-brûlée-Set"]
    assert finder.find("KANNCHEN") == finder.find("kännchen") == ["Kännchen"]
    assert finder.find("strasse") == finder.find("straße") == ["Straßenkarte"]


def test_the_last_word_matches_as_a_prefix(finder: Finder) -> None:
    finder.add("Oak bookshelf", "Oaken table")
    assert finder.find("oak boo") == ["Oak bookshelf"]
    assert finder.find("boo oak") == []
    assert finder.find("oak") == ["Oak bookshelf", "Oaken table"]
    assert finder.find('"oak"') == ["Oak bookshelf"]
    assert finder.find('"oak boo') == ["Oak bookshelf"]


def test_a_product_must_have_every_word(finder: Finder) -> None:
    finder.add("Oak desk", "Oak table", description="Made of solid wood.")
    assert finder.find("wood desk") == ["Oak desk"]
    assert finder.find("desk table") == []
    assert finder.find("solid oak made") == ["Oak desk", "Oak table"]


def test_a_phrase_has_its_order_and_ends_with_its_text(finder: Finder) -> None:
    finder.add("Green tea", description="Pot of clay.", sku="TEA-1")
    finder.add("Tea pot, green")
    assert finder.find('"tea pot"') == ["Tea pot, green"]
    assert finder.find('"tea tea"') == []
    assert finder.find("tea pot") == ["Tea pot, green", "Green tea"]
    assert finder.find(
        "\N{LEFT DOUBLE QUOTATION MARK}green tea\N{RIGHT DOUBLE QUOTATION MARK}"
    ) == (["Green tea"])


def test_a_product_with_an_excluded_word_is_not_found(finder: Finder) -> None:
    finder.add("Oak desk", "Pine desk", "Dining table of pine")
    assert finder.find("desk -pine") == ["Oak desk"]
    assert finder.find("-pine desk") == ["Oak desk"]
    assert finder.find('-"pine desk"') == ["Oak desk", "Dining table of pine"]
    assert finder.find("-desk") == ["Dining table of pine"]
    assert finder.find("desk -pin") == ["Oak desk", "Pine desk"]
    assert finder.find("desk -desk") == []


@pytest.mark.parametrize("q", ["FUR-0000007", "fur 0000007", "fur0000007", "0000007", "FUR-00000"])
def test_a_sku_is_found_whole_and_in_parts(finder: Finder, q: str) -> None:
    finder.add("Desk", sku="FUR-0000007")
    finder.add("Lamp", sku="LIG-0000010")
    assert finder.find(q) == ["Desk"]


def test_a_code_is_not_taken_for_another(finder: Finder) -> None:
    finder.add("Desk 2024", sku="FUR-0000007")
    assert finder.find("FUR-0000008") == []
    assert finder.find('"2025"') == finder.find("2025") == []


def edits(word: str) -> Iterator[str]:
    """Yield what one edit makes of a word: a letter less, more or another, or two swapped."""
    for place in range(len(word) + 1):
        yield f"{word[:place]}q{word[place:]}"
    for place in range(len(word)):
        yield word[:place] + word[place + 1 :]
        yield f"{word[:place]}q{word[place + 1 :]}"
    for place in range(len(word) - 1):
        yield word[:place] + word[place + 1] + word[place] + word[place + 2 :]


@pytest.mark.parametrize("name", ["Lamp", "Teapot", "Bücher", "Wardrobe"])
def test_a_word_with_any_single_edit_is_found(finder: Finder, name: str) -> None:
    finder.add(name, "Something else")
    for typed in edits(name.lower()):
        if len(typed) >= 4:
            assert finder.find(typed) == [name], typed


@pytest.mark.parametrize("typed", ["bookhslef", "boksheelf", "bokshlf", "booookshelf", "vookshelg"])
def test_a_long_word_with_two_edits_is_found(finder: Finder, typed: str) -> None:
    finder.add("Oak bookshelf", "Something else")
    assert finder.find(typed) == ["Oak bookshelf"]
    assert finder.find(f"{typed} oak") == ["Oak bookshelf"]


def test_a_word_that_is_known_is_not_corrected(finder: Finder) -> None:
    finder.add("Desk lamp", "Leg of lamb")
    assert finder.find("lamb") == ["Leg of lamb"]
    assert finder.find("lam") == ["Desk lamp", "Leg of lamb"]


def test_a_word_that_is_known_is_corrected_where_nothing_has_all_words(finder: Finder) -> None:
    finder.add("Desk lamp", "Leg of lamb")
    assert finder.find("desk lamb") == ["Desk lamp"]


def test_a_part_of_a_longer_word_is_found_beside_a_word_that_is_corrected(finder: Finder) -> None:
    finder.add("Schreibtisch lamp", "Lamb")
    assert finder.find("tisch lamb") == ["Schreibtisch lamp"]


def test_a_part_of_a_longer_word_is_found(finder: Finder) -> None:
    finder.add("Schreibtischlampe", "Schreibtisch", "Stuhl")
    assert finder.find("tisch") == ["Schreibtisch", "Schreibtischlampe"]


def test_a_product_is_found_by_the_name_of_its_category(finder: Finder) -> None:
    finder.add("Oak bench", "Oak table")
    kitchen = finder.shop.create_category("Küche & Bad")["id"]
    finder.add("Oak board", "Kettle", category_id=kitchen)
    assert finder.find("garden oak") == ["Oak bench", "Oak table"]
    assert finder.find("kuche oak") == finder.find("oak küche") == ["Oak board"]
    assert finder.find("kuchee oak") == ["Oak board"]
    assert finder.find("oak -garden") == ["Oak board"]
    assert finder.find("küche") == ["Kettle", "Oak board"]
    finder.shop.patch(f"/categories/{kitchen}", name="Haushalt")
    assert finder.find("kuche") == []
    assert finder.find("haush") == ["Kettle", "Oak board"]


def test_the_best_match_comes_first(finder: Finder) -> None:
    names = ["Desk", "Oak", "Desk lamp", "Big lamp for a desk", "Deskside table", "Chair"]
    finder.add("Board", description="For a desk.")
    finder.add(*reversed(names[2:5]))
    finder.add("Desk")
    finder.add("Ruler", sku="DESK")
    assert finder.find("desk") == [
        *("Desk", "Ruler", "Desk lamp", "Big lamp for a desk", "Deskside table", "Board")
    ]


HOSTILE = [
    "!!!", '"', '""', "-", "--", '-"', "'", "\\", "a & b", "a | !b", "a:*", "a <-> b", "(((", ":*",
    "'; DROP TABLE products; --", "%", "_", "%%%%", "$$", "\0", "\ud800", "a\0b", "\x7f\x1b[31m",
    "\N{RIGHT-TO-LEFT OVERRIDE}abc", "\N{ZERO WIDTH SPACE}", "🫖" * 200, "a " * 100, "x" * 200,
    " ".join(string.ascii_lowercase + string.digits), '"a' * 60, "-a " * 60, "é" * 200,
    "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}" * 200, "=desk", "NULL", "{}", "1e5", "0x1F",
]  # fmt: skip


@pytest.mark.parametrize("q", HOSTILE, ids=range(len(HOSTILE)))
def test_no_typed_text_is_an_error(finder: Finder, q: str) -> None:
    finder.add("Desk", description="A desk.")
    assert finder.find(q) in ([], ["Desk"])


@given(q=st.text(st.characters(), max_size=200))
@bounds(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_typed_text_is_searched_without_an_error(finder: Finder, q: str) -> None:
    finder.find(q)


def test_a_query_without_a_word_finds_nothing(finder: Finder) -> None:
    finder.add("Desk")
    assert finder.find("!!!") == finder.find('"" -') == []


def test_new_words_enter_with_their_product(finder: Finder) -> None:
    finder.add("Red kettle", description="Whistles.", sku="KET-1")
    assert finder.words() == ["garden", "kettle", "red", "whistles"]
    finder.add("Red kettle")
    finder.shop.patch("/products/1", name="Blue kettle")
    finder.shop.create_category("Blue things")
    assert finder.words() == ["blue", "garden", "kettle", "red", "things", "whistles"]


ADD_WORDS = """
import sys, psycopg2
with psycopg2.connect(sys.argv[1]) as connection, connection.cursor() as cursor:
    for n in range(60):
        words = [f"word{n}x{one}" for one in range(20)]
        if sys.argv[2] == "backwards":
            words.reverse()
        cursor.execute(
            "INSERT INTO products (name, price, stock, category_id) VALUES (%s, 1, 1, 1)",
            [" ".join(words)],
        )
        print(n, flush=True)
    sys.stdin.read()  # so that each holds what it has added while the other goes on
"""


def test_two_writers_of_the_same_new_words_do_not_wait_for_each_other(
    finder: Finder, settings: dict[str, str]
) -> None:
    """Each writer writes all of its products before either commits."""
    finder.shop.create_category()
    command = [sys.executable, "-c", ADD_WORDS, settings["DATABASE_URL"]]
    writers = [
        subprocess.Popen([*command, order], stdin=PIPE, stdout=PIPE, text=True)
        for order in ("forwards", "backwards")
    ]
    for writer in writers:
        assert writer.stdout
        for n in range(60):
            assert writer.stdout.readline() == f"{n}\n"
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    assert len(set(finder.words())) == 60 * 20 + 1
    assert len(finder.find("word7x7")) == 2
    assert finder.shop.command("search", "rebuild").exit_code == 0
    assert len(finder.words()) == 60 * 20 + 1


def test_a_change_of_stock_writes_no_index(finder: Finder) -> None:
    """A sale writes one row, and no entry of an index that stock does not cross zero for."""
    finder.add("Desk", stock=5)
    with finder.shop.app.app_context():
        updated = select(func.pg_stat_get_xact_tuples_hot_updated(text("'products'::regclass")))
        connection = db.session.connection()  # beneath the guard of what is cached
        connection.execute(text("UPDATE products SET stock = stock - 1"))
        assert db.session.scalar(updated) == 1
        connection.execute(text("UPDATE products SET stock = 0"))
        assert db.session.scalar(updated) == 1
        db.session.rollback()


def test_columns_of_finding_are_what_triggers_make_them(finder: Finder) -> None:
    finder.add("Désk  lamp", stock=1)
    with finder.shop.app.app_context():
        connection = db.session.connection()  # beneath the guard of what is cached
        connection.execute(text("UPDATE products SET words = 'x', in_stock = false"))
        db.session.commit()
    assert finder.find("desk") == ["Désk  lamp"]
    assert finder.scalar("SELECT in_stock FROM products")
    assert finder.scalar("SELECT name_key FROM products") == "desk lamp"


def test_reads_and_writes_of_products_load_no_search_column(a_shop: Shop) -> None:
    with a_shop.statements() as sent:
        a_shop.create_product()
        a_shop.patch("/products/1", name="Hoe", stock=0)
        a_shop.get("/products/1")
        a_shop.get("/products")
    loads = [one for one in sent if "products" in one]
    assert len(loads) > 3
    for one in loads:
        read_back = one.partition("RETURNING")[2] if "RETURNING" in one else one
        assert "products.words" not in read_back
        assert "name_key" not in read_back
        assert "in_stock" not in read_back
