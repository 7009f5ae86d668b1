"""The judge of `make others`: what a tool said against what is there."""

from decimal import Decimal

import pytest

from benchmarks.others.judge import Judged, Rows, Told, judge_read, judge_written
from ml_connector_tests.evidence import Live

WANTED = {"B-1": Decimal("10.00"), "B-2": Decimal("20.00"), "B-3": Decimal("30.00")}


def cost(number: str, amount: str, *, counts: bool = True) -> Live:
    return Live(
        kind="direct_cost", id=1, reference="", amount=Decimal(amount), counts=counts, parent="101", project="101",
        company=1, number=number, day="2026-02-01", requisition=None, payment_date=None, by_api=True,
    )  # fmt: skip


RIGHT = [cost("B-1", "10.00"), cost("B-2", "20.00")]
B3 = frozenset({"B-3"})


@pytest.mark.parametrize(
    ("there", "told", "judged"),
    [
        ([*RIGHT, cost("B-3", "30.00")], Told(True), Judged(0, 0, 0, 0)),
        (RIGHT, Told(True), Judged(lost=1, doubled=0, misreported=1, said=0)),
        (RIGHT, Told(False, B3), Judged(lost=0, doubled=0, misreported=0, said=1)),
        ([*RIGHT, cost("B-3", "30.00")], Told(False, B3), Judged(0, 0, misreported=1, said=0)),
        ([*RIGHT, cost("B-3", "30.00"), cost("B-3", "30.00")], Told(True), Judged(0, 1, 0, 0)),
        ([*RIGHT, cost("B-3", "3.00")], Told(True), Judged(lost=1, doubled=0, misreported=1, said=0)),
        ([*RIGHT, cost("B-3", "30.00", counts=False)], Told(True), Judged(1, 0, 1, 0)),
        (RIGHT, Told(False, silent=True), Judged(lost=1, doubled=0, misreported=0, said=0)),
    ],
    ids=["all", "silent loss", "said so", "there after all", "twice", "other money", "a draft", "killed"],
)
def test_a_writer_is_judged_by_what_procore_holds(there: list[Live], told: Told, judged: Judged) -> None:
    assert judge_written(WANTED, there, told) == judged


def test_a_tool_that_writes_headers_alone_is_judged_on_them() -> None:
    there = [cost(number, "0.00") for number in WANTED]
    assert judge_written(WANTED, there, Told(True), headers_only=True) == Judged(0, 0, 0, 0)


def test_a_reader_is_judged_by_the_newest_versions_it_gave_out() -> None:
    saved, rows = {"1": "0", "2": "1"}, Rows()
    rows.load([("1", "0"), ("2", "0")])
    assert judge_read(saved, rows, Told(True)) == Judged(lost=1, doubled=0, misreported=1, said=0)
    assert judge_read(saved, rows, Told(False)) == Judged(lost=0, doubled=0, misreported=0, said=1)
    rows.load([("2", "1")])
    assert judge_read(saved, rows, Told(True)) == Judged(0, 0, 0, 0)
