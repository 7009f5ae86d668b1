"""The query dialect: SELECT ... FROM one entity, conditions joined by AND, an order, a position, a length.

Parsing raises Refusal 4000, meaning raises Refusal 4001.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from ml_connector.sandbox.qbo.company import Company, id_order
from ml_connector.sandbox.qbo.refusals import invalid_query, unparsable_query
from ml_connector.sandbox.qbo.schema import BY_LOWER, Entity
from ml_connector.sandbox.qbo.times import epoch, recorded_epoch
from ml_connector.sandbox.records import Document

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>'(?:\\.|[^'\\])*') | (?P<word>[A-Za-z_][\w.]*) | (?P<number>-?\d+(?:\.\d+)?)
    | (?P<sign><=|>=|<|>|=|\*|\(|\)|,)
    )""",
    re.VERBOSE,
)
_COUNT = "count(*)"
_LONGEST_PAGE = 1000
_UPDATED = "MetaData.LastUpdatedTime"
_CREATED = "MetaData.CreateTime"
_ALWAYS_QUERYABLE = ("Id", _UPDATED, _CREATED)
_NUMBERS = frozenset({"Balance", "TotalAmt", "CurrentBalance", "UnitPrice"})
_FLAGS = frozenset({"Active", "Job", "SubAccount", "SubClass", "SubDepartment", "Credit", "Adjustment"})
_BOUNDS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda held, wanted: held == wanted,
    "<": lambda held, wanted: held < wanted,
    ">": lambda held, wanted: held > wanted,
    "<=": lambda held, wanted: held <= wanted,
    ">=": lambda held, wanted: held >= wanted,
}


@dataclass(frozen=True)
class Condition:
    """`property operator values`; values as text."""

    name: str
    operator: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Statement:
    """A parsed statement; `columns` is empty for `*`."""

    entity: Entity
    columns: tuple[str, ...]
    count: bool
    conditions: tuple[Condition, ...]
    order: tuple[tuple[str, bool], ...]
    start: int
    length: int


def parse(text: str) -> Statement:
    """Read a statement. Raises Refusal 4000 or 4001."""
    return _Parser(text).statement()


def run(statement: Statement, company: Company) -> dict[str, Any]:
    """The inside of `QueryResponse`."""
    rows = _matching(statement, company)
    if statement.count:
        return {"totalCount": len(rows)}
    rows = _ordered(statement, rows)[statement.start - 1 : statement.start - 1 + statement.length]
    if not rows:
        return {}
    answer: dict[str, Any] = {
        statement.entity.name: [_row(statement, doc) for doc in rows],
        "startPosition": statement.start,
        "maxResults": len(rows),
    }
    if statement.entity.totalled:
        answer["totalCount"] = len(rows)
    return answer


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str, int]] = []
        place, end = 0, len(text.rstrip())
        while place < end:
            found = _TOKEN.match(text, place)
            if found is None or found.lastgroup is None:
                raise unparsable_query(
                    f'Lexical error at line 1, column {place + 1}. Encountered: "{text[place]}"'
                )
            self._tokens.append((found.lastgroup, found[found.lastgroup], found.start(found.lastgroup) + 1))
            place = found.end()
        self._at = 0

    def statement(self) -> Statement:
        self._word("select")
        columns, count = self._columns()
        self._word("from")
        name = self._take("word")
        entity = BY_LOWER.get(name.lower())
        if entity is None:
            raise invalid_query(f"invalid context declaration: {name}")
        conditions = []
        if self._if_word("where"):
            conditions.append(self._condition(entity))
            while self._if_word("and"):
                conditions.append(self._condition(entity))
        order, start, length = self._tail(entity)
        if self._at < len(self._tokens):
            raise self._unexpected()
        return Statement(entity, columns, count, tuple(conditions), order, start, length)

    def _columns(self) -> tuple[tuple[str, ...], bool]:
        if self._if_sign("*"):
            return (), False
        first = self._take("word")
        if first.lower() == "count" and self._if_sign("("):
            self._sign("*")
            self._sign(")")
            return (), True
        names = [first]
        while self._if_sign(","):
            names.append(self._take("word"))
        return tuple(names), False

    def _condition(self, entity: Entity) -> Condition:
        name = self._property(entity)
        if self._if_word("in"):
            self._sign("(")
            values = [self._value()]
            while self._if_sign(","):
                values.append(self._value())
            self._sign(")")
            return Condition(name, "in", tuple(values))
        operator = "like" if self._if_word("like") else self._take("sign")
        if operator not in (*_BOUNDS, "like"):
            self._at -= 1
            raise self._unexpected()
        if name == "Id" and operator != "=":
            raise invalid_query("property 'Id' supports the operators = and IN")
        return Condition(name, operator, (self._value(),))

    def _property(self, entity: Entity) -> str:
        name = self._take("word")
        for known in (*_ALWAYS_QUERYABLE, *entity.queryable):
            if known.lower() == name.lower():
                return known
        if name.lower() in {held.lower() for held in entity.properties}:
            raise invalid_query(f"property '{name}' is not queryable")
        raise invalid_query(f"Property {name} not found for Entity {entity.name}")

    def _tail(self, entity: Entity) -> tuple[tuple[tuple[str, bool], ...], int, int]:
        order: list[tuple[str, bool]] = []
        start, length = 1, 100
        if self._if_word("orderby") or (self._if_word("order") and self._word("by")):
            order.append(self._sorting(entity))
            while self._if_sign(","):
                order.append(self._sorting(entity))
        while self._peek() in ("startposition", "maxresults"):
            word, number = self._take("word").lower(), self._whole()
            if word == "startposition":
                start = number
            else:
                length = number
        if start < 1:
            raise invalid_query("startposition must be 1 or more")
        if not 0 < length <= _LONGEST_PAGE:
            raise invalid_query(f"maxresults must be between 1 and {_LONGEST_PAGE}")
        return tuple(order), start, length

    def _sorting(self, entity: Entity) -> tuple[str, bool]:
        name = self._property(entity)
        descending = self._if_word("desc")
        if not descending:
            self._if_word("asc")
        return name, descending

    def _value(self) -> str:
        if self._at >= len(self._tokens):
            raise self._unexpected()
        group, text, _ = self._tokens[self._at]
        self._at += 1
        if group == "text":
            return re.sub(r"\\(.)", r"\1", text[1:-1])
        if group == "number" or text.lower() in ("true", "false"):
            return text
        self._at -= 1
        raise self._unexpected()

    def _whole(self) -> int:
        text = self._take("number")
        if not text.lstrip("-").isdigit():
            self._at -= 1
            raise self._unexpected()
        return int(text)

    def _peek(self) -> str:
        return self._tokens[self._at][1].lower() if self._at < len(self._tokens) else ""

    def _if_word(self, word: str) -> bool:
        if self._peek() != word:
            return False
        self._at += 1
        return True

    _if_sign = _if_word

    def _word(self, word: str) -> bool:
        if not self._if_word(word):
            raise self._unexpected()
        return True

    _sign = _word

    def _take(self, group: str) -> str:
        if self._at >= len(self._tokens) or self._tokens[self._at][0] != group:
            raise self._unexpected()
        self._at += 1
        return self._tokens[self._at - 1][1]

    def _unexpected(self) -> Exception:
        if self._at >= len(self._tokens):
            return unparsable_query('Encountered "<EOF>" at the end of the statement.')
        _, text, column = self._tokens[self._at]
        return unparsable_query(f'Encountered "{text}" at line 1, column {column}.')


def _matching(statement: Statement, company: Company) -> list[Document]:
    entity, conditions = statement.entity, list(statement.conditions)
    wanted = [c.values for c in conditions if c.name == "Id"]
    if wanted:
        found = [company.find(entity.name, id) for id in dict.fromkeys(wanted[0])]
        rows = [doc for doc in found if doc is not None]
    else:
        low, high = _span(conditions)
        rows = company.changed(entity.name, low=low, high=high)
    if entity.name_property is not None and not any(c.name == "Active" for c in conditions):
        rows = [doc for doc in rows if doc.get("Active") is not False]
    for condition in conditions:
        holds = _test(condition)
        rows = [doc for doc in rows if holds(doc)]
    return rows


def _span(conditions: list[Condition]) -> tuple[float, float]:
    """The span of LastUpdatedTime that the conditions leave; they are still checked one by one."""
    low, high = float("-inf"), float("inf")
    for condition in conditions:
        if condition.name == _UPDATED and condition.operator in _BOUNDS:
            moment = _moment(condition.values[0])
            if condition.operator in (">", ">=", "="):
                low = max(low, moment)
            if condition.operator in ("<", "<=", "="):
                high = min(high, moment)
    return low, high


def _test(condition: Condition) -> Callable[[Document], bool]:
    read, name = _reader(condition.name), condition.name
    wanted = [_typed(name, value) for value in condition.values]
    if condition.operator == "in":
        return lambda doc: read(doc) in wanted
    if condition.operator == "like":
        pieces = [re.escape(piece) for piece in condition.values[0].split("%")]
        pattern = re.compile(".*".join(pieces), re.IGNORECASE | re.DOTALL)
        return lambda doc: pattern.fullmatch(str(read(doc) or "")) is not None
    compare, value = _BOUNDS[condition.operator], wanted[0]

    def holds(doc: Document) -> bool:
        held = read(doc)
        return held is not None and compare(held, value)

    return holds


def _reader(name: str) -> Callable[[Document], Any]:
    """A function that reads a property in the type that `_typed` gives to what it is compared with."""
    if name in (_UPDATED, _CREATED):
        key = name.partition(".")[2]
        return lambda doc: recorded_epoch(doc.get("MetaData"), key)
    if name in _NUMBERS:
        return lambda doc: _number(doc.get(name))
    if name == "Active":
        return lambda doc: doc.get(name) is not False
    if name in _FLAGS:
        return lambda doc: bool(doc.get(name))
    return lambda doc: _folded(doc.get(name))


def _number(held: Any) -> Decimal | None:
    try:
        return None if held is None else Decimal(str(held))
    except InvalidOperation:  # an odd record, loaded as it is: no number, so no condition holds for it
        return None


def _folded(held: Any) -> str | None:
    if isinstance(held, dict):
        held = held.get("value")
    return None if held is None else str(held).casefold()


def _typed(name: str, value: str) -> Any:
    if name in (_UPDATED, _CREATED):
        return _moment(value)
    if name in _FLAGS:
        return value.lower() == "true"
    if name in _NUMBERS:
        try:
            return Decimal(value)
        except InvalidOperation as error:
            raise invalid_query(f"value {value} is not a number") from error
    return value.casefold()


def _moment(value: str) -> float:
    try:
        return epoch(value)
    except ValueError as error:
        raise invalid_query(f"value {value} is not a date-time") from error


def _ordered(statement: Statement, rows: list[Document]) -> list[Document]:
    order = statement.order
    if not order:  # the order the vendor takes when none is asked for
        named = statement.entity.name_property
        order = ((_UPDATED, True),) if named is None else ((named, False),)
    for name, descending in reversed(order):
        if name == "Id":
            rows = sorted(rows, key=lambda doc: id_order(str(doc["Id"])), reverse=descending)
        else:
            rows = sorted(rows, key=_sort_key(name), reverse=descending)
    return rows


def _sort_key(name: str) -> Callable[[Document], tuple[bool, Any]]:
    read = _reader(name)

    def key(doc: Document) -> tuple[bool, Any]:
        held = read(doc)
        return (held is not None, held if held is not None else 0)

    return key


def _row(statement: Statement, doc: Document) -> Document:
    if statement.columns:
        wanted = {column.lower().partition(".")[0] for column in statement.columns} | {"id"}
        return {name: value for name, value in doc.items() if name.lower() in wanted}
    if statement.entity.name == "Vendor":  # recorded: a query leaves out these where a read has 0
        return {n: v for n, v in doc.items() if n not in ("BillRate", "CostRate") or v}
    return doc
