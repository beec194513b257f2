"""A database that was failed over: what leads to a standby is left, and what was lost is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg2
import pytest

if TYPE_CHECKING:
    from replication import Replicated


def test_a_promoted_standby_has_what_it_had_received(replicated: Replicated) -> None:
    primary, standby = replicated
    add = "INSERT INTO categories (name) VALUES ('{}')"
    primary.ask(add.format("kept"))
    standby.catch_up()
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        standby.ask(add.format("refused"))
    standby.stop_receiving()
    primary.ask(add.format("lost"))
    primary.kill()
    standby.promote()
    standby.ask(add.format("new"))
    assert standby.ask("SELECT string_agg(name, ',' ORDER BY name) FROM categories") == "kept,new"
