"""The problem types that clients get (RFC 9457).

Services raise these. Each class is one problem type. Its name gives `type` and `title`
(`SKUTakenError` is /problems/sku-taken, "SKU taken"); its docstring and `members` are the text of
the page at that URL. A new problem type is one more class here.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy.exc import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Path = str | tuple[str | int, ...]  # of a field; a number is the place in a list
    FieldError = str | Mapping[str, Any]  # a detail, alone or with more members


CLIPPED_LENGTH = 64  # characters of a client's text, in a message to the client


def clip(text: str) -> str:
    """Return a text that a client sent, or its beginning."""
    return text if len(text) <= CLIPPED_LENGTH else f"{text[:CLIPPED_LENGTH]}…"


class ShopError(Exception):
    """A request is not carried out; the message is for its sender.

    `fields` has the error of each wrong field, by its name or its path, such as
    ("lines", 0, "quantity"): a text, or a mapping with `detail` and further members of the entry.
    `members` are further members of the problem.
    """

    status: ClassVar[HTTPStatus]
    members: ClassVar[Mapping[str, str]] = {}  # the meaning of each

    def __init__(
        self, message: str, fields: Mapping[Path, FieldError] | None = None, **members: Any
    ) -> None:
        super().__init__(message)
        self.fields = fields or {}
        self.values = members

    @classmethod
    def slug(cls) -> str:
        return "-".join(_words(cls)).lower()

    @classmethod
    def type(cls) -> str:
        """Return the URL that names this problem type, relative to the service."""
        return f"/problems/{cls.slug()}"

    @classmethod
    def title(cls) -> str:
        first, *others = _words(cls)
        return " ".join([first, *(word if word.isupper() else word.lower() for word in others)])


def _words(kind: type[ShopError]) -> list[str]:
    return re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]+", kind.__name__.removesuffix("Error"))


def problem_types() -> dict[str, type[ShopError]]:
    """Return every problem type by its slug, ordered by status."""
    found: dict[str, type[ShopError]] = {}
    waiting = ShopError.__subclasses__()
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        found[kind.slug()] = kind
    return dict(sorted(found.items(), key=lambda item: (item[1].status, item[0])))


@contextmanager
def raise_for_violations(errors: Mapping[str, Callable[[], ShopError]]) -> Iterator[None]:
    """Raise the error that `errors[constraint]` returns, if the block violates the constraint.

    The function runs after the rollback of the transaction, and may read the database.
    """
    try:
        yield
    except IntegrityError as error:
        constraint = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
        refusal = errors.get(constraint or "")
        if refusal is None:
            raise
        raised = refusal()
        raise raised from error


class BadRequestError(ShopError):
    """The request cannot be read as HTTP, or its body did not arrive whole."""

    status = HTTPStatus.BAD_REQUEST


class InvalidJSONError(BadRequestError):
    """The body is not valid JSON in UTF-8, or an object in it has a name twice."""


class InvalidIdempotencyKeyError(BadRequestError):
    """The `Idempotency-Key` does not have the form of one: 1 to 255 visible ASCII characters."""


class InvalidConditionError(BadRequestError):
    """`If-Match` or `If-None-Match` is longer than 2,000 characters."""


class KeyRequiredError(ShopError):
    """This call needs an API key, and none was sent: `Authorization: Bearer KEY`.

    Calls that read orders take the token of a session instead.
    """

    status = HTTPStatus.UNAUTHORIZED


class InvalidKeyError(KeyRequiredError):
    """Nobody has the key that was sent: it is mistyped, or was revoked."""


class SessionRequiredError(ShopError):
    """This call needs a session, and none was sent, or one that has ended.

    Open one with `POST /sessions`, and send its token: `Authorization: Bearer TOKEN`.
    """

    status = HTTPStatus.UNAUTHORIZED


class SessionEndedError(SessionRequiredError):
    """The session ended while the request was carried out; nothing was done."""

    def __init__(self) -> None:
        super().__init__("This session has ended: open another with POST /sessions.")


class MetricsTokenRequiredError(ShopError):
    """`/metrics` is for operators: send `METRICS_TOKEN`, as `Authorization: Bearer TOKEN`."""

    status = HTTPStatus.UNAUTHORIZED


class ScopeRequiredError(ShopError):
    """The key lacks the scope that this call needs, or a session was sent instead of a key."""

    status = HTTPStatus.FORBIDDEN
    members: ClassVar = {"scope": "The scope that is needed."}


class NoKeysError(ShopError):
    """This call needs an API key, and the shop has not made any so far.

    The operator sets `ADMIN_API_KEY`, or makes one with `flask keys create`.
    """

    status = HTTPStatus.FORBIDDEN


class NotFoundError(ShopError):
    """There is no such product, category or order, or it is not where the address says."""

    status = HTTPStatus.NOT_FOUND


class UnknownAddressError(NotFoundError):
    """No call of the API has this address."""


class MethodNotAllowedError(ShopError):
    """This address does not have this method; the header `Allow` has those that it has."""

    status = HTTPStatus.METHOD_NOT_ALLOWED


class ConflictError(ShopError):
    """The request conflicts with what is stored."""

    status = HTTPStatus.CONFLICT


class SKUTakenError(ConflictError):
    """Another product has this SKU. Choose another one, or change that product."""

    members: ClassVar = {
        "sku": "The SKU that was sent.",
        "product_id": "The product that has it; null if it has gone since.",
    }


class NameTakenError(ConflictError):
    """Another category has this name. Choose another one, or use that category."""

    members: ClassVar = {
        "name": "The name that was sent.",
        "category_id": "The category that has it; null if it has gone since.",
    }


class CategoryInUseError(ConflictError):
    """The category has products, so it is not deleted. Move or delete them first."""

    members: ClassVar = {"category_id": "The category."}


class ProductOrderedError(ConflictError):
    """The product has been ordered, so it is not deleted. Make it inactive instead."""

    members: ClassVar = {"product_id": "The product."}


class NotForSaleError(ConflictError):
    """The product is inactive: it cannot be put into a cart."""

    members: ClassVar = {"product_id": "The product."}


class OutOfStockError(ConflictError):
    """Less is available than was asked for, and nothing was done.

    Of an order, `errors` has an entry for each line that cannot be had, with its `product_id` and
    what is `available` of it: 0 for a product that is not sold now. A change of the stock that
    would take more than there is has these two as members of the problem.
    """

    members: ClassVar = {
        "product_id": "The product, of a change of its stock.",
        "available": "Its stock.",
    }


class StockLimitError(ConflictError):
    """The stock would be more than a stock can be."""

    members: ClassVar = {"product_id": "The product.", "available": "Its stock."}


class CartEmptyError(ConflictError):
    """There is nothing in the cart that could be ordered."""


class CartFullError(ConflictError):
    """The cart has as many items as an order may have lines."""

    members: ClassVar = {"limit": "How many these are."}


class OrderStatusError(ConflictError):
    """The status of the order does not allow this step."""

    members: ClassVar = {
        "order_id": "The order.",
        "order_status": "Its status.",
        "action": "The step that was asked for.",
    }


class OrderExpiredError(ConflictError):
    """The order was not paid in time, and cannot be paid any more. Place another one.

    It is cancelled with its stock given back, or will be soon.
    """

    members: ClassVar = {"order_id": "The order.", "expires_at": "By when it was to be paid."}


class SessionOpenOrdersError(ConflictError):
    """The session has as many orders that wait for their payment as it may have.

    One more can be placed when one of these is paid, is cancelled, or expires (`expires_at`).
    """

    members: ClassVar = {
        "open_orders": "How many orders wait for their payment.",
        "limit": "How many may do so.",
    }


class AddressOpenOrdersError(SessionOpenOrdersError):
    """The sessions of this client address together have as many unpaid orders as they may have.

    One more can be placed when one of these is paid, is cancelled, or expires.
    """


class RequestUnderWayError(ConflictError):
    """A request with this `Idempotency-Key` is being carried out. Wait, then send it again."""


class PreconditionFailedError(ShopError):
    """The ETag in `If-Match` is not the present one. Read this again, and then decide."""

    status = HTTPStatus.PRECONDITION_FAILED


class BodyTooLargeError(ShopError):
    """The body is larger than this call takes."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    members: ClassVar = {"limit": "How many bytes it takes."}


class UnsupportedMediaTypeError(ShopError):
    """The body is not declared as plain JSON: send `Content-Type: application/json`.

    It is read in UTF-8 alone, and without any `Content-Encoding`. Other media types that end in
    `+json` are not read, because nobody knows what they mean here.
    """

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class InvalidFieldsError(ShopError):
    """Fields or parameters are wrong, unknown, missing or repeated.

    `errors` has an entry for each: `field` is its path, such as `lines.0.quantity`, `detail` says
    what is wrong with it. There are 20 at most, or 100 where they are of the lines of an order;
    `errors_omitted` says how many others there are.
    """

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class MixedCurrenciesError(InvalidFieldsError):
    """The lines of an order are in several currencies; `errors` names those that differ."""


class CurrencyRequiredError(InvalidFieldsError):
    """Prices of several currencies are compared. Say in `currency` which of them is meant."""

    members: ClassVar = {"currencies": "Some of the currencies that the products have."}


class TooManyDecimalsError(InvalidFieldsError):
    """The price has more decimal places than its currency, whichever of the two was sent."""

    members: ClassVar = {
        "currency": "The currency.",
        "decimal_places": "How many it has (ISO 4217).",
    }


class IdempotencyKeyReusedError(ShopError):
    """This `Idempotency-Key` was sent with another request. Make a new one for each request."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class InternalError(ShopError):
    """The service made an error. Its log has the cause, under the `request_id`."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR


class DatabaseUnavailableError(ShopError):
    """The database cannot be reached now. Wait as long as `Retry-After` says, then try again."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class DatabaseReadOnlyError(DatabaseUnavailableError):
    """The database takes no writes now, and nothing was done: reads are answered.

    It is failed over, or somebody works on it. Wait as long as `Retry-After` says, then try again.
    """


class DatabaseBusyError(DatabaseUnavailableError):
    """Other requests hold what this one needs for too long, and nothing was done.

    Wait as long as `Retry-After` says, then try again.
    """


class RedisUnavailableError(ShopError):
    """The request is carried out in Redis, which cannot be reached now. Try again later."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class OverloadedError(ShopError):
    """The service has more requests under way than it can carry out, and nothing was done.

    Reads that are cached are answered all the same. Wait as long as `Retry-After` says, then try
    again.
    """

    status = HTTPStatus.SERVICE_UNAVAILABLE


class UnreadableRequestError(ShopError):
    """The bytes that were sent are no request of HTTP/1.1 (RFC 9112). The connection is closed."""

    status = HTTPStatus.BAD_REQUEST


class RequestTimeoutError(ShopError):
    """The request did not arrive in time, and the connection is closed.

    Send its head within ten seconds, and its body without pauses.
    """

    status = HTTPStatus.REQUEST_TIMEOUT


class AddressTooLongError(ShopError):
    """The address of the request has too many characters, and the connection is closed."""

    status = HTTPStatus.REQUEST_URI_TOO_LONG
    members: ClassVar = {"limit": "How many bytes the first line of a request may have."}


class HeadersTooLargeError(ShopError):
    """The request has too many headers, or too long ones, and the connection is closed."""

    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    members: ClassVar = {"limit": "How many bytes the head of a request may have."}


class UnknownMethodError(ShopError):
    """No resource of any service has the method of this request, and the connection is closed."""

    status = HTTPStatus.NOT_IMPLEMENTED


class UnknownTransferCodingError(ShopError):
    """The body has another transfer coding than `chunked`, and the connection is closed."""

    status = HTTPStatus.NOT_IMPLEMENTED
