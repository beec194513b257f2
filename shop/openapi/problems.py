"""The documents of problems, as the API's document shows them."""

from __future__ import annotations

from marshmallow import INCLUDE, Schema, fields


class FieldErrorSchema(Schema):
    """What is wrong with a field; for what is short also `product_id` and `available`."""

    class Meta:
        unknown = INCLUDE

    field = fields.String(required=True)
    detail = fields.String(required=True)


class ProblemSchema(Schema):
    """A problem document (RFC 9457). Further members are those of its type."""

    class Meta:
        unknown = INCLUDE

    type = fields.String(
        required=True,
        metadata={"format": "uri-reference", "description": "The kind: it leads to a page."},
    )
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    instance = fields.String(required=True)
    request_id = fields.String(required=True)
    errors = fields.List(fields.Nested(FieldErrorSchema))


class QuotaExceededSchema(ProblemSchema):
    """A problem of the type quota-exceeded (draft-ietf-httpapi-ratelimit-headers-10)."""

    violated_policies = fields.List(fields.String(), data_key="violated-policies", required=True)


PROBLEM_HEADERS = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
PROBLEM_SCHEMAS = {429: QuotaExceededSchema}
