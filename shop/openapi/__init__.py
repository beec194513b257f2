"""The API's document (OpenAPI 3.1), and the parsing of requests by it.

A route declares its schemas and the problems that it can answer with. This package adds what every
call has: limits, request ids, the problems of malformed requests and of faults.
"""

from .blueprint import Blueprint
from .bodies import read_body
from .document import Api

__all__ = ["Api", "Blueprint", "read_body"]
