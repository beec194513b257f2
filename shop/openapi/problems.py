"""The documents of problems, as the API's document shows them."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from marshmallow import INCLUDE, Schema, fields

from shop import problems
from shop.fields import describe

if TYPE_CHECKING:
    from shop.problems import ShopError

AN_ID = "23a2dcb2d2884bc9a00ae5b053bb5df1"


class FieldErrorSchema(Schema):
    """The error of a field; of a product out of stock also `product_id` and `available`."""

    class Meta:
        unknown = INCLUDE

    field = fields.String(
        required=True, metadata=describe("Its path; empty for the whole body.", "lines.0.quantity")
    )
    detail = fields.String(
        required=True, metadata=describe("The error, in words.", "Missing data.")
    )


class ProblemSchema(Schema):
    """A problem document (RFC 9457). Further members are those of its type."""

    class Meta:
        unknown = INCLUDE

    type = fields.String(
        required=True,
        metadata=describe(
            "The kind: it leads to a page.", "/problems/not-found", format="uri-reference"
        ),
    )
    title = fields.String(required=True, metadata=describe("The kind, in words.", "Not found"))
    status = fields.Integer(required=True, metadata=describe("The status of the answer.", 404))
    detail = fields.String(
        required=True, metadata=describe("The failure, in words.", "There is no product 7.")
    )
    instance = fields.String(
        required=True, metadata=describe("The path of the request.", "/products/7")
    )
    request_id = fields.String(
        required=True,
        metadata=describe("The request's id, also in X-Request-ID and in the logs.", AN_ID),
    )
    errors = fields.List(
        fields.Nested(FieldErrorSchema), metadata=describe("The errors of the fields.")
    )
    errors_omitted = fields.Integer(
        metadata=describe("How many more errors there are than `errors` has.", 80)
    )


class QuotaExceededProblemSchema(ProblemSchema):
    """A problem of the type quota-exceeded (draft-ietf-httpapi-ratelimit-headers-10)."""

    violated_policies = fields.List(
        fields.String(metadata=describe("The name of a policy.", "default")),
        data_key="violated-policies",
        required=True,
        metadata=describe("The policies of which too little is left."),
    )


PROBLEM_HEADERS = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
PROBLEM_SCHEMAS = {429: QuotaExceededProblemSchema}

# The kind that the document shows of each status.
SHOWN: dict[int, type[ShopError]] = {
    kind.status: kind
    for kind in (
        problems.InvalidJSONError,
        problems.KeyRequiredError,
        problems.ScopeRequiredError,
        problems.NotFoundError,
        problems.ConflictError,
        problems.PreconditionFailedError,
        problems.BodyTooLargeError,
        problems.UnsupportedMediaTypeError,
        problems.InvalidFieldsError,
        problems.InternalError,
        problems.DatabaseUnavailableError,
    )
}
QUOTA_EXCEEDED = {
    "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
    "title": "Quota Exceeded",
    "detail": "More than 100 requests in 60 seconds (policy default).",
    "violated-policies": ["default"],
}


def example(status: int, path: str, *, of_session: bool) -> dict[str, Any]:
    """Return a problem as a call of `path` answers it."""
    common = {"status": status, "instance": path, "request_id": AN_ID}
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return QUOTA_EXCEEDED | common
    kind = SHOWN[status]
    if of_session and status == HTTPStatus.UNAUTHORIZED:
        kind = problems.SessionRequiredError
    detail = (kind.__doc__ or "").partition("\n")[0]
    return {"type": kind.type(), "title": kind.title(), "detail": detail} | common
