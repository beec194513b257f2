"""Schemas and examples of problem documents."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from marshmallow import INCLUDE, Schema, fields

from shop import problems
from shop.fields import describe

if TYPE_CHECKING:
    from shop.problems import ShopError

REQUEST_ID_EXAMPLE = "23a2dcb2d2884bc9a00ae5b053bb5df1"


class FieldErrorSchema(Schema):
    """The error of a field; of a product out of stock also `product_id` and `available`."""

    class Meta:
        unknown = INCLUDE

    field = fields.String(
        required=True,
        metadata=describe("The path of the field; empty for the whole body.", "lines.0.quantity"),
    )
    detail = fields.String(
        required=True, metadata=describe("The error, in words.", "Missing data.")
    )


class ProblemSchema(Schema):
    """A problem document (RFC 9457). Its type may have further members."""

    class Meta:
        unknown = INCLUDE

    type = fields.String(
        required=True,
        metadata=describe(
            "The kind of problem, which is the URL of a page about it.",
            "/problems/not-found",
            format="uri-reference",
        ),
    )
    title = fields.String(
        required=True, metadata=describe("The kind of problem, in words.", "Not found")
    )
    status = fields.Integer(required=True, metadata=describe("The status of the answer.", 404))
    detail = fields.String(
        required=True,
        metadata=describe("The failure, in words.", "There is no product 7."),
    )
    instance = fields.String(
        required=True, metadata=describe("The path of the request.", "/products/7")
    )
    request_id = fields.String(
        required=True,
        metadata=describe(
            "The request's id, also in X-Request-ID and in the logs.", REQUEST_ID_EXAMPLE
        ),
    )
    errors = fields.List(
        fields.Nested(FieldErrorSchema), metadata=describe("The errors of the fields.")
    )
    errors_omitted = fields.Integer(
        metadata=describe("The number of errors that `errors` leaves out.", 80)
    )


class QuotaExceededProblemSchema(ProblemSchema):
    """A problem of the type quota-exceeded (draft-ietf-httpapi-ratelimit-headers-10)."""

    violated_policies = fields.List(
        fields.String(metadata=describe("The name of a policy.", "default")),
        data_key="violated-policies",
        required=True,
        metadata=describe("The policies whose quota does not cover the request."),
    )


PROBLEM_HEADERS = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
PROBLEM_SCHEMAS = {429: QuotaExceededProblemSchema}

# The error that the document shows as the example of each status.
EXAMPLE_ERRORS: dict[int, type[ShopError]] = {
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
    """Return an example of a problem document for a call of `path`.

    `of_session` is for a call that needs a session.
    """
    common = {"status": status, "instance": path, "request_id": REQUEST_ID_EXAMPLE}
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return QUOTA_EXCEEDED | common
    kind = EXAMPLE_ERRORS[status]
    if of_session and status == HTTPStatus.UNAUTHORIZED:
        kind = problems.SessionRequiredError
    detail = (kind.__doc__ or "").partition("\n")[0]
    return {"type": kind.type(), "title": kind.title(), "detail": detail} | common
