"""Amounts of money: the currencies, their decimal places, and the CHECKs of the tables."""

from __future__ import annotations

from bisect import bisect_right
from decimal import ROUND_HALF_UP, Decimal

from sqlalchemy import CheckConstraint

# The currencies in circulation by the decimal places of their minor units: ISO 4217, list one, as
# its maintenance agency (SIX) published it on 2026-01-01, without funds, metals and test codes.
# CHECKs of the tables have the first and the last line: changing those needs a migration.
UNITS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF",
    2: """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF
    CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD
    HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA
    MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN
    QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP
    TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG
    """,
    3: "BHD IQD JOD KWD LYD OMR TND",
}
DECIMALS = {code: places for places, codes in UNITS.items() for code in codes.split()}
CURRENCIES = tuple(sorted(DECIMALS))
DEFAULT_DECIMALS = 2  # of a currency that was withdrawn later
DECIMALS_MAX = max(UNITS)

# The lower ends of the price ranges that are counted, in any currency: 1, 2, 5, 10, 20 ...
LADDER = tuple(step * 10**power for power in range(11) for step in (1, 2, 5))

CENT = Decimal("0.01")

PRICE_LIMIT = 10**10  # prices are below it
TOTAL_LIMIT = 10**16  # the totals of orders are below it: LINES_MAX x QUANTITY_MAX prices


def decimals(currency: str) -> int:
    """Return the decimal places of a currency."""
    return DECIMALS.get(currency, DEFAULT_DECIMALS)


def smallest_unit(currency: str) -> Decimal:
    """Return the smallest amount of a currency, such as 1 JPY, 0.01 EUR or 0.001 KWD."""
    return Decimal(1).scaleb(-decimals(currency))


def rounded_amount(amount: Decimal, currency: str) -> Decimal:
    """Return the nearest amount of the currency; half a unit is rounded up."""
    return amount.quantize(smallest_unit(currency), ROUND_HALF_UP)


def exact_amount(amount: Decimal, currency: str) -> Decimal:
    """Return an amount with the currency's decimal places; raise ValueError if it has more."""
    found = rounded_amount(amount, currency)
    if found != amount:
        places = decimals(currency)
        shown = f"{amount.normalize():f}"
        raise ValueError(f"{shown} is no amount of {currency}, which has {places} decimal places.")
    return found


def step(amount: Decimal) -> int:
    """Return the number of steps that an amount has reached, as PostgreSQL's width_bucket."""
    return bisect_right(LADDER, amount)


def has_whole_steps(low: Decimal | None, high: Decimal | None, currency: str | None) -> bool:
    """Return whether a range has whole steps of the ladder, such as 10 to 19.99.

    Amounts are counted in cents, or in whole units of a currency that has no cents.
    """
    unit = max(smallest_unit(currency), CENT) if currency else CENT
    from_step = not low or low in LADDER
    return from_step and (high is None or step(high) < step(high + unit))


def amount_text(amount: Decimal, currency: str) -> str:
    """Return an amount in the form of documents, such as 100, 19.90 or 1.250."""
    return f"{amount:.{decimals(currency)}f}"


def amount_checks(column: str, limit: int, places: str | int) -> tuple[CheckConstraint, ...]:
    """Return the CHECKs of a NUMERIC column of amounts."""
    return (
        CheckConstraint(f"{column} > 0", name=f"{column}_positive"),
        CheckConstraint(f"{column} < {limit}", name=f"{column}_limit"),  # NaN is above all numbers
        CheckConstraint(f"scale(trim_scale({column})) <= {places}", name=f"{column}_decimals"),
    )


def _codes(places: int) -> str:
    return ", ".join(f"'{code}'" for code in UNITS[places].split())


# The decimal places of the currency in the same row.
CURRENCY_DECIMALS_SQL = (
    f"CASE WHEN currency IN ({_codes(0)}) THEN 0 WHEN currency IN ({_codes(3)}) THEN 3 "
    f"ELSE {DEFAULT_DECIMALS} END"
)
