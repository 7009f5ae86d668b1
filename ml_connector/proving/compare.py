"""QBO's records against Procore's, record by record: what agrees, waits, is left out, stands in another month, or differs.

Pure. No cent is left over: what nothing explains is drift, and the record behind it is named.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal

from ml_connector.money import ZERO
from ml_connector.proving.figures import (
    CHANGE_ORDER,
    RETAINAGE,
    Amounts,
    Booked,
    Compared,
    Difference,
    Direction,
    Figures,
    Place,
    RowKey,
    There,
    added,
    month_of,
    sum_of,
)

SHOWN = 4  # places in one sentence
WORDS = {"Bill": "bill", "VendorCredit": "vendor credit", "Purchase": "expense", "BillPayment": "payment"}


def compare(booked: Sequence[Booked], there: Sequence[There]) -> Compared:
    """Every row and difference of the two sides."""
    return _Comparing().run(booked, there)


class _Comparing:
    def __init__(self) -> None:
        self.rows: defaultdict[RowKey, Figures] = defaultdict(Figures)
        self.differences: list[Difference] = []

    def run(self, booked: Sequence[Booked], there: Sequence[There]) -> Compared:
        by_source: defaultdict[tuple[str, str], list[There]] = defaultdict(list)
        for one in there:
            if one.source is not None:
                by_source[one.source].append(one)
        for record in booked:
            self._record(record, by_source.pop(record.name, []))
        alone = [one for several in by_source.values() for one in several]
        for one in [*alone, *(one for one in there if one.source is None)]:
            self._alone(one)
        return Compared(dict(sorted(self.rows.items())), self.differences)

    def _record(self, record: Booked, mine: Sequence[There]) -> None:
        month = month_of(record.day)
        # Retainage that the books do not show as a line of its own is compared as part of its code.
        by_line = any(place.cost_code == RETAINAGE for place in {**record.wanted, **record.excluded})
        parts = _on_codes(record.wanted, [one.parts if by_line else one.net for one in mine])
        for place, amount in record.wanted.items():
            self.rows[place, month].qbo += amount
        for place, amount in record.excluded.items():
            self.rows[place, month].qbo += amount
            self.rows[place, month].excluded += amount
        for one, amounts in zip(mine, parts, strict=True):
            self._elsewhere(one, amounts, month)
        there = added(parts)
        rest = {
            place: left
            for place in sorted({*record.wanted, *there})
            if (left := record.wanted.get(place, ZERO) - there.get(place, ZERO))
        }
        held, drift = _explained(record, rest)
        for place, amount in held.items():
            self.rows[place, month].held += amount
        for place, amount in drift.items():
            self.rows[place, month].drift += amount
        if drift:
            self.differences.append(_difference(record, mine, there, drift))
        else:
            self._timing(record, mine, parts)

    def _elsewhere(self, one: There, amounts: Amounts, month: str) -> None:
        """Procore's money in its own month; where that is another one than QBO's, both rows say so."""
        where = month_of(one.day)
        for place, amount in amounts.items():
            self.rows[place, where].procore += amount
            if where != month:
                self.rows[place, where].timing -= amount
                self.rows[place, month].timing += amount

    def _timing(self, record: Booked, mine: Sequence[There], parts: Sequence[Amounts]) -> None:
        month = month_of(record.day)
        for one, amounts in zip(mine, parts, strict=True):
            where, amount = month_of(one.day), sum_of(amounts)
            if where == month or not amount:
                continue
            words = (
                f"{_words(record)} over {amount:,} is dated {record.day} in QBO, and stands under {one.day} in Procore "
                f"({one.kind} {one.number or one.procore_id})."
            )
            projects = _projects(amounts)
            self.differences.append(
                Difference(
                    Direction.TIMING, _name(record), record.document, record.vendor, projects[0], month, amount, amount,
                    words, projects, (month, where),
                )
            )  # fmt: skip

    def _alone(self, one: There) -> None:
        """A record of Procore's that nothing in QBO explains."""
        month, amount = month_of(one.day), sum_of(one.parts)
        for place, part in one.parts.items():
            self.rows[place, month].procore += part
            self.rows[place, month].drift -= part
        if not any(one.parts.values()):
            return
        if one.source is None:
            record = f"{one.kind}:{one.procore_id}"
            words = "was made there by a person or another integration; no bill in QBO is linked to it"
        else:
            record = f"{one.source[0].lower()}:{one.source[1]}"
            words = f"was made from {WORDS.get(one.source[0], one.source[0])} {one.source[1]}, which QBO no longer has"
        sentence = (
            f"{one.kind.capitalize()} {one.number or one.procore_id} over {amount:,} dated {one.day} {words}."
        )
        projects = _projects(one.parts)
        self.differences.append(
            Difference(
                Direction.ONLY_IN_PROCORE, record, one.number, "", projects[0], month, ZERO, amount,
                f"{sentence} {one.note}".strip(), projects, (month,),
            )
        )  # fmt: skip


def _on_codes(wanted: Amounts, parts: Sequence[Amounts]) -> list[Amounts]:
    """`parts` with work on change orders put on the codes that the bill has for it."""
    there = added(parts)
    left = {
        place: amount - there.get(place, ZERO)
        for place, amount in wanted.items()
        if place.cost_code not in (RETAINAGE, CHANGE_ORDER)
    }
    placed: list[Amounts] = []
    for amounts in parts:
        mine = dict(amounts)
        for order in [place for place in amounts if place.cost_code == CHANGE_ORDER]:
            for place in [place for place in left if place.project == order.project]:
                part = min(left[place], mine[order])
                if part > 0:
                    left[place] -= part
                    mine[place] = mine.get(place, ZERO) + part
                    mine[order] -= part
        placed.append({place: amount for place, amount in mine.items() if amount})
    return placed


def _explained(record: Booked, rest: Amounts) -> tuple[Amounts, Amounts]:
    """What of the rest of a record waits, and what nothing explains."""
    if record.waits:
        return rest, {}
    if record.drifted or not rest:
        return {}, rest
    unexplained = sum_of(rest) - record.held
    if not unexplained and (record.held or record.is_held):
        return rest, {}
    if not record.held:
        return {}, rest
    largest = max(rest, key=lambda place: abs(rest[place]))
    return {**rest, largest: rest[largest] - unexplained}, {largest: unexplained}


def _difference(
    record: Booked, mine: Sequence[There], there: Mapping[Place, Decimal], drift: Amounts
) -> Difference:
    wanted, counted = sum_of(record.wanted), sum_of(there)
    nothing_there = not any(there.values())
    direction = Direction.ONLY_IN_QBO if nothing_there else Direction.DIFFERS
    if not nothing_there and not any(record.wanted.values()):
        direction = Direction.ONLY_IN_PROCORE
    if direction is Direction.ONLY_IN_QBO:
        there_words = "nothing of it counts in Procore"
    elif wanted == counted:
        places = [
            f"{place.code} {record.wanted.get(place, ZERO):,} against {there.get(place, ZERO):,}"
            for place in drift
        ]
        more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
        there_words = f"Procore has the same money on other codes: {'; '.join(places[:SHOWN])}{more}"
    else:
        held = f", {record.held:,} of it held" if record.held else ""
        there_words = f"Procore counts {counted:,}{held}"
        numbers = [f"{one.kind} {one.number or one.procore_id}" for one in mine]
        if numbers:
            there_words += f" ({', '.join(numbers[:SHOWN])})"
    if record.kept:
        direction = Direction.KEPT
    sentence = (
        f"{_words(record)} dated {record.day}: QBO has {wanted:,}, {there_words}. {record.note}".strip()
    )
    projects = _projects(drift)
    months = tuple(dict.fromkeys([month_of(record.day), *(month_of(one.day) for one in mine)]))
    return Difference(
        direction, _name(record), record.document, record.vendor, projects[0], months[0], wanted, counted,
        sentence, projects, months,
    )  # fmt: skip


def _words(record: Booked) -> str:
    kind = WORDS.get(record.entity, record.entity).capitalize()
    of = f" of {record.vendor}" if record.vendor else ""
    return f"{kind} {record.document or 'without number'}{of} (QBO id {record.qbo_id})"


def _name(record: Booked) -> str:
    return f"{record.entity.lower()}:{record.qbo_id}"


def _projects(amounts: Amounts) -> tuple[str, ...]:
    return tuple(dict.fromkeys(place.project for place in amounts)) or ("",)
