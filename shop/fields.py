"""Fields that take exactly the JSON of their documentation, and refuse anything else."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from marshmallow import Schema, ValidationError, fields, pre_load, validate
from marshmallow.exceptions import SCHEMA
from marshmallow.utils import get_value

from . import money

if TYPE_CHECKING:
    from collections.abc import Callable

INTEGER_MAX = 2_147_483_647  # PostgreSQL's integer
ID_MAX = 2**53 - 1  # of tables that grow; every JSON parser reads it exactly (RFC 7493)
MONEY = r"^[0-9]{1,10}(\.([0-9]{1,2}|[0-9]{3}0{0,12}))?$"  # an amount that some currency has
AMOUNT = re.compile(r"^[0-9]{1,10}(\.[0-9]{1,15})?$")  # a service checks it by the currency
AMOUNT_EXPONENT = -15
ZERO = r"^[0.]+$"

# Python and clients match these patterns. Two neighbouring repetitions share no character, so that
# no engine tries a long text in more than one way. No pattern allows control characters or halves
# of surrogate pairs: PostgreSQL takes neither U+0000 nor surrogates.
LINE = r"^ *[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"  # more than spaces
TEXT = r"^[^\x00-\x08\x0b-\x1f\x7f]*$"
BLANKS = r"\x00-\x20\x7f-\xa0\u1680\u2000-\u200b\u2028\u2029\u202f\u205f\u3000\ufeff"
EMAIL = rf"^[^@{BLANKS}]+@[^@{BLANKS}]+$"
INSTANT = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})$"
)
UNKNOWN_MAX = 20  # names of an object that are refused one by one
WHOLE_OBJECT = None  # in place of a field's name, in errors of the object itself
SURROGATES = re.compile("[\ud800-\udfff]")


def describe(description: str, *examples: Any, **more: Any) -> dict[str, Any]:
    """Return the `metadata` of a field: its part of the API's document."""
    shown = {"examples": list(examples)} if examples else {}
    return {"description": description, **shown, **more}


SKIPPED = describe("The rows before this page.", 0)
PAGE_SIZE = describe("The rows that a page has at most.", 10)


class Input(Schema):
    """An object of a request: it has the fields that are declared, and no others."""

    @pre_load
    def _bound_unknown(self, data: Any, **_: Any) -> Any:
        """Remove unknown names beyond a bound: refusing one costs more than reading a field."""
        surplus = set(self._unknown(data)[UNKNOWN_MAX:])
        return {name: data[name] for name in data if name not in surplus} if surplus else data

    def handle_error(self, error: ValidationError, data: Any, **_: Any) -> None:
        """Add all unknown names to the errors, last and in their order in the object."""
        if isinstance(error.messages, dict):
            unknown = self._unknown(data)
            if SCHEMA in error.messages and SCHEMA not in unknown:
                error.messages[WHOLE_OBJECT] = error.messages.pop(SCHEMA)
            for name in unknown:
                error.messages.pop(name, None)
                error.messages[name] = [self.error_messages["unknown"]]

    def _unknown(self, data: Any) -> list[str]:
        if not isinstance(data, dict):
            return []
        return [name for name in data if name not in self.fields]


class Pattern(validate.Regexp):
    """A pattern for the whole string: Python's `$` would leave out a newline at its end."""

    def __call__(self, value: Any) -> Any:
        if not self.regex.fullmatch(value):
            raise ValidationError(self._format_error(value))
        return value


class Text(fields.String):
    """A string of Unicode characters that can be stored."""

    WRONG = "Contains characters that are not allowed here."

    def __init__(self, pattern: str, *, shortest: int = 0, longest: int, **options: Any) -> None:
        rules: list[Callable[[Any], Any]] = [
            validate.Length(shortest or None, longest),
            Pattern(pattern, error=self.WRONG),
            self._require_characters,
        ]
        super().__init__(validate=rules, **options)

    def _validate(self, value: str) -> None:
        """Stop at the first broken rule: a text that is too long is not matched with a pattern."""
        for rule in self.validators:
            rule(value)

    def _require_characters(self, value: str) -> None:
        if SURROGATES.search(value):
            raise ValidationError(self.WRONG)


class BoundedList(fields.List[Any]):
    """A list of `least` to `most` items; a longer one is refused before its items are read."""

    def __init__(self, item: Any, *, least: int, most: int, **options: Any) -> None:
        super().__init__(item, validate=validate.Length(least, most), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[Any]:
        if isinstance(value, list):
            self._validate(value)
        items: list[Any] = super()._deserialize(value, attr, data, **kwargs)
        return items


class Whole(fields.Integer):
    """A whole number from `least` to `most`, written as a number."""

    def __init__(
        self, least: int, most: int = INTEGER_MAX, *, wrong: str | None = None, **options: Any
    ) -> None:
        """`wrong`: the message for a number out of the range."""
        super().__init__(validate=validate.Range(least, most, error=wrong), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise self.make_error("invalid", input=value)
        if not -INTEGER_MAX <= value <= INTEGER_MAX:  # 1e999999 is never written out
            raise self.make_error("too_large", input=value)
        if value != int(value):
            raise self.make_error("invalid", input=value)
        return int(value)


class WholeText(Whole):
    """A whole number that is written as text: in a query."""

    DIGITS = "[0-9]+"

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if not re.fullmatch(r"-?[0-9]{1,18}", value):
            raise self.make_error("invalid", input=value)
        return int(value)


class CommaList(BoundedList):
    """A list that is written as text: in a query, with commas between its items.

    In the API's document it is a string. Many generated clients write an array as a repeated
    parameter, whatever style the document has, and a repeated parameter is refused.
    """

    is_multiple = False  # otherwise webargs expects a repeated parameter

    def __init__(self, item: Any, *, written: str, longest: int, most: int, **options: Any) -> None:
        """`written` is the pattern of an item, which has `longest` characters at most."""
        self.text = {
            "type": "string",
            "pattern": f"^(?:{written})(?:,(?:{written}))*$",
            "maxLength": most * (longest + 1) - 1,
        }
        super().__init__(item, least=1, most=most, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[Any]:
        return super()._deserialize(value.split(","), attr, data, **kwargs)


class Flag(fields.Boolean):
    """True or false of JSON, and no other value."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class FlagText(Flag):
    """True or false, written as text: in a query."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        return super()._deserialize({"true": True, "false": False}.get(value), attr, data, **kwargs)


class AmountText(fields.Field[Decimal]):
    """An amount of any currency from 0, written as text: in a query."""

    INPUT = {"type": "string", "pattern": AMOUNT.pattern, "maxLength": 26}  # noqa: RUF012

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Decimal:
        if not AMOUNT.fullmatch(value):
            raise ValidationError("Must be an amount of at most 10 digits, such as 19.90.")
        return Decimal(value)


class Money(fields.Field[Decimal]):
    """An amount in the currency of the same object: a string, or a number on input.

    A number in the request is read as a decimal, never as a float. It may have as many decimal
    places as any currency has; a service checks them by the currency.
    """

    INPUT = {  # noqa: RUF012
        "anyOf": [
            {"type": "string", "pattern": MONEY, "not": {"pattern": ZERO}},
            {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": money.PRICE_LIMIT},
        ],
        "description": f"Above 0, below {money.PRICE_LIMIT}, and an amount that its currency has: "
        "beyond its decimal places (ISO 4217: 0, 2 or 3) there are only zeros.",
        "examples": ["19.90"],
    }
    OUTPUT = {  # noqa: RUF012
        "type": "string",
        "pattern": r"^[0-9]{1,10}(\.[0-9]{2,3})?$",
        "examples": ["19.90"],
    }
    SUM = OUTPUT | {"pattern": r"^[0-9]+(\.[0-9]{2,3})?$", "examples": ["39.80"]}
    WRONG = (
        f"Must be an amount above 0 and below {money.PRICE_LIMIT}, with the decimal places of its "
        "currency, such as 19.90."
    )

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str:
        return money.amount_text(value, get_value(obj, "currency"))

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Decimal:
        if isinstance(value, Decimal) and 0 < value < money.PRICE_LIMIT:
            exponent = value.as_tuple().exponent
            value = (
                f"{value:f}" if isinstance(exponent, int) and exponent >= AMOUNT_EXPONENT else ""
            )
        elif isinstance(value, int) and not isinstance(value, bool) and value < money.PRICE_LIMIT:
            value = str(value)
        if not isinstance(value, str) or not AMOUNT.fullmatch(value) or not Decimal(value):
            raise ValidationError(self.WRONG)
        return Decimal(value)


def instant(moment: datetime) -> str:
    """Return a time in the form of documents."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


class Instant(fields.Field[datetime]):
    """A time as RFC 3339 in UTC, such as 2026-03-01T12:30:05.123456Z."""

    EXAMPLES = ["2026-03-01T12:30:05Z"]  # noqa: RUF012
    INPUT = {  # noqa: RUF012
        "type": "string",
        "format": "date-time",
        "pattern": INSTANT,
        "maxLength": 32,
        "examples": EXAMPLES,
    }
    OUTPUT = {"type": "string", "format": "date-time", "examples": EXAMPLES}  # noqa: RUF012
    CREATED = OUTPUT | describe("When it was made.")
    UPDATED = OUTPUT | describe("When it was changed last.")
    WRONG = "Must be a time with its offset, such as 2026-03-01T12:30:05Z."

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else instant(value)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        if not isinstance(value, str) or not re.fullmatch(INSTANT, value):
            raise ValidationError(self.WRONG)
        try:
            return datetime.fromisoformat(value).astimezone(UTC)
        except (ValueError, OverflowError):  # the 30th of February, and years before the first
            raise ValidationError(self.WRONG) from None
