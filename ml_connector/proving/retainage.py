"""Retainage payable: what each commitment holds back in Procore against the account of the books. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ml_connector.money import ZERO, total
from ml_connector.proving.books import Retention
from ml_connector.proving.job_costs import Retained

WITHOUT_LINES = ("paid_short", "net_bill")  # policies by which bills have no line of retainage
NO_COMMITMENT = 0  # bills that wait, and lines that belong to no commitment


@dataclass
class RetainageRow:
    """One commitment: `books` = `procore` - `by_policy` + `held` + `excluded` + `difference`; id 0 stands for none.

    `by_policy` is what Procore holds back of bills that have no line of retainage: the books' account knows nothing of it.
    """

    commitment_id: int
    project: str
    books: Decimal = ZERO
    procore: Decimal = ZERO
    held: Decimal = ZERO
    excluded: Decimal = ZERO
    by_policy: Decimal = ZERO

    @property
    def difference(self) -> Decimal:
        """What nothing explains."""
        return self.books - self.procore + self.by_policy - self.held - self.excluded


@dataclass(frozen=True)
class Payable:
    """Retainage of both sides, record by record.

    `commitments_of` tells the commitments (with their projects) that a record was billed on. `policy` is how the books
    keep retainage.
    """

    books: Sequence[Retention]
    there: Sequence[Retained]
    commitments_of: Mapping[tuple[str, str], Sequence[tuple[int, str]]]
    policy: str

    def rows(self, *, until: str | None = None) -> list[RetainageRow]:
        """What is held back now, or at the end of a month (`2026-03`), by commitment.

        An invoice made from a bill stands in the month of the bill: a billing period that begins later is no difference.
        """
        if until is None:
            books, there = self.books, self.there
        else:
            months = {(bill.entity, bill.qbo_id): bill.month for bill in self.books}
            books = [bill for bill in self.books if bill.month <= until]
            there = [
                one
                for one in self.there
                if (one.month if one.source is None else months.get(one.source, one.month)) <= until
            ]
        return _retainage_payable(books, there, commitments_of=self.commitments_of, policy=self.policy)


def _retainage_payable(
    books: Sequence[Retention],
    there: Sequence[Retained],
    *,
    commitments_of: Mapping[tuple[str, str], Sequence[tuple[int, str]]],
    policy: str,
) -> list[RetainageRow]:
    """A row a commitment, and one for what is on none.

    A bill on several commitments is put where Procore has its retainage, so that only its sum can differ.
    """
    rows: dict[int, RetainageRow] = {}
    booked = {(bill.entity, bill.qbo_id) for bill in books}
    by_source: dict[tuple[str, str], list[Retained]] = {}
    for one in there:
        row = _row(rows, one.commitment_id, one.project)
        row.procore += one.amount
        if policy in WITHOUT_LINES and one.source is not None and one.source not in booked:
            row.by_policy += one.amount
        if one.source is not None:
            by_source.setdefault(one.source, []).append(one)
    for bill in books:
        name = (bill.entity, bill.qbo_id)
        billed = list(commitments_of.get(name, ()))
        _share(rows, bill, billed, by_source.get(name, []))
    return [row for _, row in sorted(rows.items())]


def _share(
    rows: dict[int, RetainageRow],
    bill: Retention,
    billed: Sequence[tuple[int, str]],
    there: Sequence[Retained],
) -> None:
    none = _row(rows, NO_COMMITMENT, "")
    none.books += bill.excluded
    none.excluded += bill.excluded
    if bill.waiting:  # of a bill that was posted before, Procore keeps what it was
        for one in there:
            _row(rows, one.commitment_id, one.project).books += one.amount
        waits = bill.waiting - total(one.amount for one in there)
        none.books += waits
        none.held += waits
        return
    left = bill.posted
    if len(billed) > 1:
        for one in there:
            _row(rows, one.commitment_id, one.project).books += one.amount
            left -= one.amount
    if left:
        commitment, project = billed[0] if billed else (NO_COMMITMENT, bill.project)
        _row(rows, commitment, project).books += left


def _row(rows: dict[int, RetainageRow], commitment: int, project: str) -> RetainageRow:
    return rows.setdefault(commitment, RetainageRow(commitment, project))
