"""The version of the service, also in pyproject.toml."""

VERSION = "0.1.0"
