"""Lines of the log: their fields, their form, and no secret in them."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest

from shop.logs import TextFormatter, logging_config

if TYPE_CHECKING:
    from conftest import Make, Shop


def test_an_access_line_describes_the_request(
    a_shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    a_shop.create_product()
    with caplog.at_level(logging.INFO, "shop.access"):
        a_shop.get("/products/1", headers={"X-Request-ID": "seven"})
    [record] = [record for record in caplog.records if record.name == "shop.access"]
    fields = vars(record)["fields"]
    assert fields["method"] == "GET"
    assert fields["route"].startswith("/products/<")
    assert (fields["path"], fields["status"], fields["cache"]) == ("/products/1", 200, "MISS")
    assert fields["client"] == "127.0.0.1"
    assert fields["milliseconds"] >= 0


def test_logs_have_no_secrets(make_shop: Make, caplog: pytest.LogCaptureFixture) -> None:
    shop = make_shop(DATABASE_URL="postgresql://someone:hidden-password@127.0.0.1:1/none")
    with caplog.at_level(logging.DEBUG):
        shop.post("/categories", name="Garden")
        shop.get("/products")
    assert "hidden-password" not in caplog.text
    assert str(shop.key) not in caplog.text


def test_a_line_on_a_terminal_cannot_be_forged() -> None:
    record = logging.makeLogRecord({"msg": "GET /x\n12:00:00 INFO all is well \x1b[31m ü"})
    line = TextFormatter("%H:%M:%S").format(record)
    assert line.endswith(r"GET /x\x0a12:00:00 INFO all is well \x1b[31m ü")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_log_line_is_text_on_a_terminal_and_else_json(
    a_shop: Shop, capsys: pytest.CaptureFixture[str], *, terminal: bool
) -> None:
    handler_config = logging_config("INFO", terminal=terminal)
    config = logging.config.DictConfigurator(handler_config)
    formatter = config.configure_formatter(
        handler_config["formatters"]["text" if terminal else "json"]
    )
    name = handler_config["handlers"]["stderr"]["formatter"]
    assert name == ("text" if terminal else "json")
    record = logging.makeLogRecord(
        {
            "msg": "GET /products 200",
            "levelname": "INFO",
            "name": "shop.access",
            "fields": {"status": 200},
        }
    )
    line = formatter.format(record)
    if terminal:
        assert line.endswith("INFO    GET /products 200")
    else:
        fields = json.loads(line)
        assert fields["message"] == "GET /products 200"
        assert (fields["level"], fields["logger"], fields["status"]) == ("INFO", "shop.access", 200)
        record.msg = "half a pair: \ud800"
        assert json.loads(formatter.format(record))["message"] == record.msg
