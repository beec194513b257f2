"""Add to pytest for `make test-browser`: the browser that all tests of pages share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from chromium import Chromium, find_chromium

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    program = find_chromium()
    if not program:
        pytest.exit("There is no Chromium on this machine: `apt-get install chromium`.", 1)
    chromium = Chromium(program, tmp_path_factory.mktemp("chromium"))
    yield chromium
    chromium.stop()
