"""Where PostgreSQL is: `DATABASE_URL`, and what it may say."""

from .parse import FORM, parse_database_url

__all__ = ["FORM", "parse_database_url"]
