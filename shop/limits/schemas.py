from __future__ import annotations

from marshmallow import Schema, fields, validate

from shop.config import TIERS
from shop.fields import Whole, describe


class RateLimitPolicySchema(Schema):
    """The usage of one policy by the caller."""

    policy = fields.String(required=True, metadata=describe("Its name.", "default"))
    quota = Whole(
        0,
        required=True,
        metadata=describe("The requests that the caller may send in one window.", 100),
    )
    window = Whole(1, required=True, metadata=describe("The seconds of one window.", 60))
    remaining = Whole(
        0, required=True, metadata=describe("The requests that are left of the quota.", 99)
    )
    reset = Whole(
        0,
        required=True,
        metadata=describe("Seconds until some of it is free again; 0 if all of it is.", 60),
    )


class RateLimitSchema(Schema):
    """The quotas of the caller."""

    client = fields.String(
        required=True,
        metadata=describe(
            "The client that is counted: an address, key:PREFIX, admin, session: and the beginning "
            "of its hash, or unknown if a proxy names no address.",
            "192.0.2.7",
        ),
    )
    tier = fields.String(
        required=True,
        validate=validate.OneOf(TIERS),
        metadata=describe("The tier, which decides the quotas.", TIERS[0]),
    )
    policies = fields.List(
        fields.Nested(RateLimitPolicySchema),
        required=True,
        metadata=describe("The policies that apply to the caller."),
    )
