"""The API's document (OpenAPI 3.1), and how requests are parsed to it.

Routes declare what is theirs: schemas, and the problems that they can answer with. What holds
for every call (limits, request ids, malformed requests, faults) is added here.
"""

from .blueprint import Blueprint
from .bodies import read_body
from .document import Api

__all__ = ["Api", "Blueprint", "read_body"]
