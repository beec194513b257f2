"""The product's gunicorn settings without its hooks and its logs, for the other WSGI contenders."""

import runpy
from pathlib import Path

from gunicorn.config import KNOWN_SETTINGS

product = runpy.run_path(str(Path(__file__).parents[2] / "gunicorn.conf.py"))
known = {setting.name for setting in KNOWN_SETTINGS}
globals().update(
    {name: value for name, value in product.items() if name in known and not callable(value)}
)
del globals()["logconfig_dict"]
