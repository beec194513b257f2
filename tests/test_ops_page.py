"""The operators' page without a browser; tests/browser/ops.py has its script."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from shop.config import ROOT

if TYPE_CHECKING:
    from conftest import Make, Shop


def test_the_page_is_public_and_fetches_nothing_from_elsewhere(a_shop: Shop) -> None:
    a_shop.key = None
    page = a_shop.get("/ops")
    assert page.status_code == 200
    assert page.headers["Cache-Control"] == "no-cache"
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    fetched = re.findall(r'(?:src|href)="(.*?)"', page.text)
    assert fetched == ["/ops/assets/ops.css", "/ops/assets/ops.js"]
    assert all(a_shop.get(path).status_code == 200 for path in fetched)
    assert a_shop.get("/ops/assets/docs.js").status_code == 404
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=", page.text)


def test_the_page_opens_for_an_address_that_is_refused(make_shop: Make) -> None:
    shop = make_shop(RATE_LIMIT_CALLS="1")
    assert [shop.get("/products").status_code for _ in range(2)] == [200, 429]
    for path in ("/ops", "/ops/assets/ops.js", "/ops/assets/ops.css"):
        assert shop.get(path).status_code == 200


def test_the_index_links_to_the_page_if_there_is_one(make_shop: Make) -> None:
    browser = {"Accept": "text/html"}
    assert 'href="/ops"' in make_shop().get("/", headers=browser).text
    without = make_shop(OPS_PAGE="false")
    assert 'href="/ops"' not in without.get("/", headers=browser).text
    assert without.get("/ops").status_code == 404
    assert without.get("/ops/assets/ops.js").status_code == 404


def test_each_runbook_that_the_page_names_has_an_alert() -> None:
    script = (ROOT / "shop" / "static" / "ops.js").read_text()
    named = set(re.findall(r', "([a-z]+(?:-[a-z]+)+)"\]\)', script))
    alerts = (ROOT / "deploy" / "monitoring" / "alerts.yml").read_text()
    assert len(named) > 5
    assert named <= set(re.findall(r"runbooks/([a-z-]+)\.md", alerts))
