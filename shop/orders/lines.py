"""Check the lines of an order against the products, which are locked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shop.problems import InvalidFieldsError, MixedCurrenciesError, OutOfStockError

from .metrics import REFUSED_LINES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shop.problems import FieldError
    from shop.products.models import Product

    Line = Mapping[str, int]  # product_id, quantity


def check_lines(lines: Sequence[Line], products: Mapping[int, Product], field: str) -> None:
    """Raise an error that names every wrong line and its fault. `field` is the path of the lines.

    Raises InvalidFieldsError for unknown products, MixedCurrenciesError, and OutOfStockError for
    inactive products and short stock, in this order.
    """
    for find_wrong, error, message in (
        (_unknown, InvalidFieldsError, "The order has lines that are not valid."),
        (_other_currencies, MixedCurrenciesError, "All lines of an order are in one currency."),
        (_unavailable, OutOfStockError, "Not all lines can be had."),
    ):
        if wrong := dict(find_wrong(lines, products)):
            raise error(message, {(field, *path): fault for path, fault in wrong.items()})


def _unknown(
    lines: Sequence[Line], products: Mapping[int, Product]
) -> Iterable[tuple[tuple[int, str], FieldError]]:
    for position, line in enumerate(lines):
        if line["product_id"] not in products:
            REFUSED_LINES.labels("unknown").inc()
            yield (position, "product_id"), f"There is no product {line['product_id']}."


def _other_currencies(
    lines: Sequence[Line], products: Mapping[int, Product]
) -> Iterable[tuple[tuple[int, str], FieldError]]:
    first = products[lines[0]["product_id"]].currency
    for position, line in enumerate(lines):
        product = products[line["product_id"]]
        if product.currency != first:
            REFUSED_LINES.labels("currency").inc()
            message = f"Product {product.id} is sold in {product.currency}, the first in {first}."
            yield (position, "product_id"), message


def _unavailable(
    lines: Sequence[Line], products: Mapping[int, Product]
) -> Iterable[tuple[tuple[int, str], FieldError]]:
    for position, line in enumerate(lines):
        product = products[line["product_id"]]
        if not product.active:
            REFUSED_LINES.labels("inactive").inc()
            message = f"Product {product.id} is not sold now."
            wrong = {"detail": message, "product_id": product.id, "available": 0}
            yield (position, "product_id"), wrong
        elif product.stock < line["quantity"]:
            REFUSED_LINES.labels("stock").inc()
            message = f"Product {product.id} has a stock of {product.stock}."
            wrong = {"detail": message, "product_id": product.id, "available": product.stock}
            yield (position, "quantity"), wrong
