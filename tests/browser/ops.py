"""The operators' page in a real browser: `make test-browser`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from chromium import UNTIL
from conftest import ADMIN_KEY

if TYPE_CHECKING:
    from chromium import Chromium, Page
    from conftest import Service, Shop

    from dev.embedded.servers import Postgres

KEYS = {"Tab": 9, "Enter": 13, "Escape": 27}  # with their codes
PRELUDE = (
    UNTIL
    + """
const place = (id) => document.getElementById(id);
const enter = (key) => {
  place("key").value = key;
  place("login").requestSubmit();
};
const shown = () => until(() => !place("state").hidden, "state");
"""
)


class OpsPage:
    """The page of a service, open in a browser."""

    def __init__(self, page: Page, service: Service) -> None:
        self.page = page
        self.service = service

    def run(self, script: str, **values: Any) -> Any:
        """Return what a script returns; `values` are constants of it."""
        given = [f"const {name} = {json.dumps(value)};" for name, value in values.items()]
        return self.page.run("\n".join([*given, PRELUDE, script]))

    def log_in(self, key: str = ADMIN_KEY) -> None:
        self.run("enter(KEY); await shown();", KEY=key)

    def press(self, *keys: str) -> None:
        """Press keys, as a person who has no mouse does."""
        for key in keys:
            named = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
            text = {"text": "\r"} if key == "Enter" else {}
            self.page.call("Input.dispatchKeyEvent", type="keyDown", **named, **text)
            self.page.call("Input.dispatchKeyEvent", type="keyUp", **named)


Open = Callable[..., OpsPage]


@pytest.fixture
def ops(browser: Chromium, serve: Callable[..., Service], a_shop: Shop) -> Open:
    """Serve a shop with a product, and open its operators' page."""
    a_shop.create_product(name="<b>Rake</b>")

    def open_page(**changes: str) -> OpsPage:
        service = serve(**changes)
        return OpsPage(browser.open(f"{service.url}/ops"), service)

    return open_page


def key(shop: Shop, *scopes: str) -> str:
    chosen = [part for scope in scopes for part in ("--scope", scope)]
    made: str = shop.command("keys", "create", "--name", "tests", *chosen).stdout.strip()
    return made


def test_a_key_opens_the_state_and_is_stored_nowhere(ops: Open, a_shop: Shop) -> None:
    page = ops()
    for _ in range(5):
        page.service.get("/products/1")
    page.log_in(key(a_shop, "ops:read"))
    found = page.run("""
        await until(() => place("families").textContent.includes("80%"), "hit rate of 80 %");
        return {
          key: place("key").value,
          storage: localStorage.length + sessionStorage.length,
          cookies: document.cookie,
          findings: place("findings").textContent,
          fetched: performance.getEntriesByType("resource").map((one) => new URL(one.name).origin),
        };
    """)
    assert (found["key"], found["storage"], found["cookies"]) == ("", 0, "")
    assert "No worker has ever run" in found["findings"]
    assert set(found["fetched"]) == {page.service.url}
    assert page.page.complaints() == []


def test_a_key_without_the_scope_is_refused_in_words(ops: Open, a_shop: Shop) -> None:
    page = ops()
    for wrong, why in (("nonsense", "not valid"), (key(a_shop, "ops:write"), "ops:read")):
        refused = page.run(
            """
            enter(KEY);
            await until(() => place("refused").textContent, "reason");
            return [place("refused").textContent, place("state").hidden, document.activeElement.id];
            """,
            KEY=wrong,
        )
        assert why in refused[0]
        assert refused[1:] == [True, "key"]


def test_the_key_is_forgotten_with_all_that_was_shown(ops: Open) -> None:
    page = ops()
    page.log_in()
    left = page.run("""
        place("forget").click();
        return [place("state").hidden, place("families").childElementCount, place("login").hidden];
    """)
    assert left == [True, 0, False]


def test_a_failed_answer_is_shown_with_its_request_id(ops: Open, postgres: Postgres) -> None:
    page = ops(DATABASE_LOCK_TIMEOUT="1")
    with psycopg2.connect(postgres.url) as holder, holder.cursor() as cursor:
        cursor.execute("SELECT FROM products WHERE id = 1 FOR UPDATE")
        failed = page.service.write("PATCH", "/products/1", stock=9)
    holder.close()
    assert failed.status_code == 503
    page.log_in()
    page.run(
        'await until(() => place("errors").textContent.includes(ID), "failed answer");'
        'await until(() => place("findings").textContent.includes("1 answer failed"), "finding");',
        ID=failed.headers["X-Request-ID"],
    )


def test_an_operator_clears_a_family_by_keyboard_alone(ops: Open) -> None:
    page = ops()
    for _ in range(2):
        answer = page.service.get("/products/1")
    assert answer.headers["X-Cache"] == "HIT"
    page.press("Tab")
    page.run("await until(() => document.activeElement.id === 'key', 'focus in the form');")
    page.page.call("Input.insertText", text=ADMIN_KEY)
    page.press("Enter")
    page.run("await shown(); place('clear-products').focus();")
    page.press("Enter")  # asks; the focus is on Cancel
    page.run("await until(() => place('ask').open, 'question');")
    page.press("Escape")
    page.run("await until(() => !place('ask').open, 'end of the question');")
    assert page.service.get("/products/1").headers["X-Cache"] == "HIT"
    page.run("place('clear-products').focus();")
    page.press("Enter")
    page.run("await until(() => place('ask').open, 'question');")
    page.press("Tab", "Enter")
    page.run("await until(() => place('done').textContent.startsWith('Cleared'), 'answer');")
    assert page.service.get("/products/1").headers["X-Cache"] == "MISS"


def test_the_focus_and_a_selection_stay_when_the_numbers_change(ops: Open) -> None:
    """The button is replaced, the caption of the answers is not; a dialog is open meanwhile."""
    page = ops()
    page.log_in()
    page.run("""
        getSelection().selectAllChildren(place("errors"));
        place("clear-products").focus();
        place("clear-products").click();
        globalThis.button = place("clear-products");
    """)
    page.service.get("/products/1")
    page.run('await until(() => place("clear-products") !== button, "new numbers");')
    page.press("Escape")
    page.run('await until(() => document.activeElement.id === "clear-products", "focus");')
    selected = page.run("return getSelection().toString();")
    assert selected.startswith("Failed")


def test_an_operator_sets_shadow_mode_and_ends_it(ops: Open) -> None:
    page = ops()
    page.log_in()
    page.run("""
        const confirm = async (id) => {
          place(id).click();
          await until(() => place("ask").open, "question");
          place("yes").click();
        };
        await confirm("shadow-900");
        await until(() => place("findings").textContent.includes("refuse nobody"), "finding");
        await until(() => place("mode-end"), "way back");
        await confirm("mode-end");
        await until(() => place("shadow-900"), "configured mode");
    """)


def test_what_customers_and_operators_wrote_is_shown_as_text(ops: Open, a_shop: Shop) -> None:
    a_shop.place_order(1)
    page = ops()
    page.log_in()
    page.run('await until(() => place("selling").textContent.includes("<b>Rake</b>"), "name");')


@pytest.mark.parametrize("width", [320, 360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_each_width(ops: Open, a_shop: Shop, width: int, scheme: str) -> None:
    a_shop.place_order(a_shop.create_product(name="x" * 200)["id"])
    page = ops()
    page.page.call(
        "Emulation.setDeviceMetricsOverride",
        width=width, height=800, deviceScaleFactor=1, mobile=width < 600,
    )  # fmt: skip
    page.page.call(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
    )
    page.log_in()
    wide, seen = page.run("""
        await until(() => place("selling").querySelector("table"), "best sellers");
        return [document.documentElement.scrollWidth, document.documentElement.clientWidth];
    """)
    assert wide <= seen <= width


def test_each_control_has_a_name_of_its_own(ops: Open) -> None:
    page = ops(RATE_LIMIT_CALLS="3")
    for _ in range(5):
        page.service.get("/products")
    page.log_in()
    page.run('await until(() => place("near").querySelector("button"), "button");')
    tree = page.page.call("Accessibility.getFullAXTree")["nodes"]
    named = [one["name"]["value"] for one in tree if one.get("role", {}).get("value") == "button"]
    assert all(named)
    assert {"Clear the family products", "Clear the whole cache", "Forget the key"} <= set(named)
    assert "Reset 127.0.0.1" in named
    headings = page.run(
        "return [...document.querySelectorAll('h1, h2')].map((one) => one.tagName).join('')"
    )
    assert headings.startswith("H1H2")


def test_the_state_is_told_without_the_service(ops: Open) -> None:
    page = ops()
    page.log_in()
    page.service.program.stop()
    page.run(
        'await until(() => place("findings").textContent.includes("numbers are old"), "finding");'
    )
    families, findings, title = page.run("""
        const families = place("families").childElementCount;
        return [families, place("findings").textContent, document.title];
    """)
    assert families > 0
    assert "All is well" not in findings
    assert title.startswith("✗")


def test_an_answer_of_a_proxy_is_told_by_its_status(ops: Open) -> None:
    page = ops()
    page.run(
        """
        window.fetch = async () => new Response("<h1>Bad gateway</h1>", { status: 502 });
        enter(KEY);
        await until(() => place("refused").textContent.includes("502"), "status");
        window.fetch = async () => new Response("<h1>Forbidden</h1>", { status: 403 });
        enter(KEY);
        await until(() => place("refused").textContent.includes("403"), "other status");
        """,
        KEY=ADMIN_KEY,
    )
    assert page.run('return place("state").hidden')
