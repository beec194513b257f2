"""Categories: cached reads, and writes that forget what they change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from shop.etags import require_match
from shop.extensions import cache, db
from shop.pages import dump, select_page_ids
from shop.problems import CategoryInUseError, NameTakenError, NotFoundError, raise_for_violations

from .models import Category
from .schemas import CategorySchema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

schema = CategorySchema()


def category(category_id: int) -> bytes:
    """Return a category's document. Raises NotFoundError."""
    try:
        return category_documents([category_id])[category_id]
    except KeyError:
        raise _not_found(category_id) from None


@cache.memoize_many(key="categories:id:{category_id}", ttl="category_cache_ttl", tables=[Category])
def category_documents(category_ids: Sequence[int]) -> dict[int, bytes]:
    found = select(Category).where(Category.id.in_(category_ids))
    rows = db.session.scalars(found.execution_options(populate_existing=True))
    return {row.id: dump(schema.dump(row)) for row in rows}


@cache.memoize(
    key="categories:list:skip:{skip}:limit:{limit}", ttl="category_cache_ttl", tables=[Category]
)
def page_ids(skip: int, limit: int) -> bytes:
    return select_page_ids(Category.id, skip, limit)


# Searches by words depend on it: they read the names of categories, too.
search_texts = cache.tag("products:texts", tables=[Category])


def forget_created_or_deleted(category_id: int) -> None:
    """Forget the entries that a category enters or leaves: all pages, too."""
    cache.delete_memoized(category_documents, category_id)
    cache.delete_memoized(page_ids)
    cache.delete_tagged(search_texts)


def forget_changes(row: Category, name: str) -> None:
    """Forget the row, and entries that read the former name. The pages stay the same."""
    cache.delete_memoized(category_documents, row.id)
    if row.name != name:
        cache.delete_tagged(search_texts)


def create_category(values: Mapping[str, Any]) -> tuple[int, bytes]:
    """Return the new category's id and document. Raises NameTakenError."""
    row = Category(**values)
    with raise_for_violations(_refusals(values)), cache.transaction():
        if _category_named(row.name) is not None:  # a refused INSERT uses up an id
            raise _name_taken(row.name)
        db.session.add(row)
        db.session.flush()
        forget_created_or_deleted(row.id)
    return row.id, dump(schema.dump(row))


def update_category(category_id: int, changes: Mapping[str, Any], if_match: str | None) -> bytes:
    """Return the changed document.

    Raises NotFoundError, PreconditionFailedError, NameTakenError.
    """
    with raise_for_violations(_refusals(changes)), cache.transaction():
        row = _lock(category_id, if_match)
        before = row.name
        for name, value in changes.items():
            setattr(row, name, value)
        forget_changes(row, before)
    return dump(schema.dump(row))


def delete_category(category_id: int, if_match: str | None) -> None:
    """Delete a category. Raises NotFoundError, PreconditionFailedError, CategoryInUseError."""

    def in_use() -> CategoryInUseError:
        message = f"Category {category_id} has products: move or delete them first."
        return CategoryInUseError(message, category_id=category_id)

    with raise_for_violations({"fk_products_category_id": in_use}), cache.transaction():
        db.session.delete(_lock(category_id, if_match))
        forget_created_or_deleted(category_id)


def _lock(category_id: int, if_match: str | None) -> Category:
    row = db.session.get(Category, category_id, with_for_update=True)
    if row is None:
        raise _not_found(category_id)
    require_match(dump(schema.dump(row)), if_match)
    return row


def _not_found(category_id: int) -> NotFoundError:
    return NotFoundError(f"There is no category {category_id}.")


def _refusals(values: Mapping[str, Any]) -> dict[str, Callable[[], NameTakenError]]:
    return {"uq_categories_name": lambda: _name_taken(values["name"])}


def _name_taken(name: str) -> NameTakenError:
    holder = _category_named(name)
    return NameTakenError(f"The name {name} is taken.", name=name, category_id=holder)


def _category_named(name: str) -> int | None:
    return db.session.scalar(select(Category.id).where(Category.name == name))
