"""`DATABASE_URL`, the address of PostgreSQL: its form and its options."""

from .parse import URL_FORM, parse_database_url

__all__ = ["URL_FORM", "parse_database_url"]
