"""The application that gunicorn and the `flask` command load."""

from dev.demo.seed import seed
from shop import create_app
from shop.environment import SettingError

try:
    app = create_app()
except SettingError as error:
    raise SystemExit(f"shop cannot start: {error}") from None

app.cli.add_command(seed)
