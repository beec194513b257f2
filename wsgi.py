"""The application that gunicorn and the `flask` command load."""

from shop import create_app
from shop.environment import SettingError

try:
    app = create_app()
except SettingError as error:
    raise SystemExit(f"shop cannot start: {error}") from None
