from __future__ import annotations

from marshmallow import Schema, fields, validate

from shop.config import TIERS
from shop.fields import Whole, describe


class RateLimitPolicySchema(Schema):
    """What the caller has left by one policy."""

    policy = fields.String(required=True, metadata=describe("Its name.", "default"))
    quota = Whole(
        0, required=True, metadata=describe("What the caller may send in one window.", 100)
    )
    window = Whole(1, required=True, metadata=describe("The seconds of one window.", 60))
    remaining = Whole(0, required=True, metadata=describe("What is left of the quota.", 99))
    reset = Whole(
        0,
        required=True,
        metadata=describe("Seconds until some of it is free again; 0 if all of it is.", 60),
    )


class RateLimitSchema(Schema):
    """What the caller may still send."""

    client = fields.String(
        required=True,
        metadata=describe(
            "Who is counted: an address, key:PREFIX, admin, session: and the beginning of its "
            "hash, or unknown for whom a proxy names no address.",
            "192.0.2.7",
        ),
    )
    tier = fields.String(
        required=True,
        validate=validate.OneOf(TIERS),
        metadata=describe("Which quotas the caller has.", TIERS[0]),
    )
    policies = fields.List(
        fields.Nested(RateLimitPolicySchema),
        required=True,
        metadata=describe("The policies that apply to the caller."),
    )
