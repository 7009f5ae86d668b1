"""Sets of values in statements: one array parameter, however many there are, so that a statement is compiled only once."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, any_, func, literal
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.expression import TableValuedAlias, column


def one_of(of: ColumnElement[Any], values: Iterable[Any]) -> ColumnElement[bool]:
    """Whether `of` has one of `values`; never for none of them."""
    return of == any_(literal(list(values), ARRAY(of.type)))


def table_of(**columns: tuple[ColumnElement[Any], Iterable[Any]]) -> TableValuedAlias:
    """A table of equally long columns, each given as what its values are like, and the values."""
    arrays = [literal(list(values), ARRAY(like.type)) for like, values in columns.values()]
    names = [column(name, like.type) for name, (like, _) in columns.items()]
    return func.unnest(*arrays).table_valued(*names).render_derived()
