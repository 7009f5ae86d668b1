"""What people decide: the approval gate, the choices of holds, and replays. A decision is for one version, made once."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from ml_connector.errors import DecisionRefused, SetupError
from ml_connector.holds import EXCLUDABLE, REASONS, Choice, Reason, choices_of
from ml_connector.posting.preview import Preview
from ml_connector.store import audit, decisions, replays
from ml_connector.store.decisions import Made
from ml_connector_tests.rig import ELM, HARBOR, MAPPING, MAPPING_HEADER, Rig, line, today

HEADERS = "PATCH */direct_costs/sync"
UNMAPPED_ACCOUNT = "7"
TOOLS_RULE = f"{MAPPING}5075,,,,,,,,,direct_cost,03-3000,M,,,,,\n"


def decide(
    rig: Rig, bill: dict[str, Any], choice: Choice, *, by: str = "berta", comment: str = "", entity: str = "Bill",
    version: int | None = None,
) -> Made:  # fmt: skip
    """A person decides, as the command does."""
    policies = rig.connection.policies
    with rig.engine.begin() as db:
        return decisions.decide(
            db,
            rig.name,
            entity,
            bill["Id"],
            choice,
            comment=comment,
            by=by,
            two_persons=policies.approval_two_persons,
            version=version,
        )


def refusal(rig: Rig, bill: dict[str, Any], choice: Choice, **given: Any) -> str:
    """Why a decision cannot stand."""
    with pytest.raises(DecisionRefused) as refused:
        decide(rig, bill, choice, **given)
    return str(refused.value)


def go_live(rig: Rig) -> None:
    """The first load, and a minute after it: QBO tells changes by the second."""
    rig.sync()
    rig.qbo.clock(offset_seconds=60)


def reasons(rig: Rig, bill: dict[str, Any]) -> list[str]:
    return [hold.reason for hold in rig.holds(bill["Id"])]


def money(rig: Rig, bill: dict[str, Any]) -> tuple[str, Decimal, Decimal, Decimal]:
    row = rig.record("Bill", bill["Id"])
    return row.state, row.posted, row.excluded, row.held


def entries(rig: Rig, bill: dict[str, Any], event: str) -> list[audit.StoredEntry]:
    with rig.engine.connect() as db:
        return [entry for entry in audit.story(db, rig.name, "Bill", bill["Id"]) if entry.event == event]


def writes_nothing(rig: Rig) -> None:
    """I4: replaying everything sends no write."""
    before = rig.procore.mark()
    rig.replay_everything()
    assert rig.procore.writes(before) == []


def gate(rig: Rig, **policies: Any) -> None:
    rig.configure(policies={"approval": "above", "approval_above": "10000.00", **policies})


# -- what the reasons state ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_states_its_choices_or_that_it_releases_by_itself(reason: Reason) -> None:
    facts = REASONS[reason]
    assert facts.choices or facts.automatic
    assert len(set(facts.choices)) == len(facts.choices)
    for entity in EXCLUDABLE:
        offered = facts.choices if not facts.decided_on else (Choice.EXCLUDE,)
        assert choices_of(reason, entity=entity, about="x") == offered
        assert set(choices_of(reason, entity=entity, about="")) <= {Choice.EXCLUDE}
    assert Choice.EXCLUDE not in choices_of(reason, entity="BillPayment", about="x")


def test_every_choice_belongs_to_a_reason() -> None:
    assert {choice for facts in REASONS.values() for choice in facts.choices} == set(Choice)


# -- the approval gate -----------------------------------------------------------------------------------------------


def test_S30_a_bill_above_the_limit_waits_and_is_posted_when_approved(rig: Rig) -> None:
    gate(rig)
    bill = rig.bookkeeper.bill("4471", [line(9000, item="101"), line(3000, item="102", customer="62")])
    small = rig.bookkeeper.bill("4472", [line(10_000, item="101")])
    rig.sync()
    assert money(rig, small)[:2] == ("posted", Decimal(10_000)), "the limit itself is not above it"
    (hold,) = rig.holds()
    assert (hold.qbo_id, hold.reason, hold.amount) == (bill["Id"], "NEEDS_APPROVAL", Decimal(12_000))
    assert hold.sentence.startswith(
        "Bill 4471 (Granite Supply, 12000.00): what is above 10,000.00 needs approval."
    )
    assert f"9,000.00 on project {HARBOR} as 03-3000 / M (direct cost)" in hold.sentence
    assert f"3,000.00 on project {ELM} as 06-1000 / M (direct cost)" in hold.sentence
    assert hold.choices == (Choice.APPROVE, Choice.REJECT, Choice.EXCLUDE)
    assert money(rig, bill) == ("held", Decimal(0), Decimal(0), Decimal(12_000))
    assert rig.dirty() == []
    decide(rig, bill, Choice.APPROVE, comment="as ordered")
    assert rig.dirty() == [today()]
    rig.settle()
    assert money(rig, bill) == ("posted", Decimal(12_000), Decimal(0), Decimal(0))
    (told,) = entries(rig, bill, "decided")
    assert (told.actor, told.detail["choice"], told.detail["comment"]) == ("berta", "approve", "as ordered")
    assert told.detail["version"] == rig.record("Bill", bill["Id"]).landing_number
    events = rig.story("Bill", bill["Id"])
    assert events.index("decided") < events.index("released") < events.index("sent")
    writes_nothing(rig)


def test_S30_a_rejected_bill_stays_in_the_queue_with_the_comment_as_its_reason(rig: Rig) -> None:
    gate(rig)
    bill = rig.bookkeeper.bill("4471", [line(12_000, item="101")])
    rig.sync()
    assert "needs a comment" in refusal(rig, bill, Choice.REJECT, comment=" ")
    decide(rig, bill, Choice.REJECT, comment="never ordered")
    rig.settle()
    (hold,) = rig.holds()
    assert (hold.reason, hold.amount) == ("NEEDS_APPROVAL", Decimal(12_000))
    assert f"berta rejected it on {today()}: never ordered. Correct it in QBO" in hold.sentence
    said = refusal(rig, bill, Choice.APPROVE, by="carl")
    assert "was decided before: reject, by berta at " in said
    assert said.endswith("UTC: never ordered")
    rig.bookkeeper.pay(bill, "100")  # says nothing new of the bill
    rig.sync()
    assert "rejected it" in rig.holds(bill["Id"])[0].sentence
    assert "was decided before: reject, by berta" in refusal(rig, bill, Choice.APPROVE, by="carl")
    rig.bookkeeper.edit("Bill", bill, Line=[line(11_000, item="101")])
    rig.sync()
    assert "needs approval" in rig.holds(bill["Id"])[0].sentence
    decide(rig, bill, Choice.APPROVE)
    rig.settle()
    assert money(rig, bill)[:2] == ("posted", Decimal(11_000))
    writes_nothing(rig)


def test_S30_under_two_persons_who_published_the_mapping_may_not_approve(rig: Rig) -> None:
    gate(rig, approval_two_persons=True)
    bill = rig.bookkeeper.bill("4471", [line(12_000, item="101")])
    rig.sync()
    before = rig.procore.mark()
    assert "tester published the mapping" in refusal(rig, bill, Choice.APPROVE, by="tester")
    rig.settle()
    assert rig.procore.writes(before) == []
    assert entries(rig, bill, "decided") == []
    decide(rig, bill, Choice.APPROVE, by="berta")
    rig.settle()
    assert money(rig, bill)[0] == "posted"


def test_S31_a_bill_that_is_edited_before_it_is_sent_needs_approval_again(rig: Rig) -> None:
    gate(rig)
    bill = rig.bookkeeper.bill("4471", [line(12_000, item="101")])
    rig.sync()
    decide(rig, bill, Choice.APPROVE)
    rig.bookkeeper.edit("Bill", bill, Line=[line(15_000, item="101")])
    rig.read()
    assert "was changed in QBO and the change is not taken up yet" in refusal(rig, bill, Choice.APPROVE)
    rig.settle()
    assert rig.direct_costs(counting=False) == []
    (hold,) = rig.holds()
    assert (hold.reason, hold.amount) == ("NEEDS_APPROVAL", Decimal(15_000))
    decide(rig, bill, Choice.APPROVE)
    rig.settle()
    assert money(rig, bill)[:2] == ("posted", Decimal(15_000))
    assert len({entry.detail["version"] for entry in entries(rig, bill, "decided")}) == 2


def test_S71_by_policy_a_change_of_what_is_posted_waits_for_a_person_and_procore_keeps_what_it_has(
    rig: Rig,
) -> None:
    rig.configure(policies={"edit_after_posting": "hold"})
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101")])
    rig.sync()
    assert money(rig, bill)[:2] == ("posted", Decimal(1250)), "a new bill needs nobody"
    rig.bookkeeper.pay(bill, "100")
    rig.sync()
    assert rig.holds() == [], "a payment is no change of the bill"
    rig.bookkeeper.edit("Bill", bill, Line=[line(1310, item="101")])
    mark = rig.procore.mark()
    rig.sync()
    rig.replay_everything()
    (hold,) = rig.holds(bill["Id"])
    assert (hold.reason, hold.choices) == (
        "NEEDS_APPROVAL",
        (Choice.APPROVE, Choice.REJECT, Choice.EXCLUDE),
    )
    assert "a change of what is posted needs approval" in hold.sentence
    assert (money(rig, bill)[:2], rig.procore.writes(mark)) == (("held", Decimal(1250)), [])
    decide(rig, bill, Choice.APPROVE)
    rig.settle()
    assert rig.cost_of(bill["Id"])["grand_total"] == "1310.00"
    assert (money(rig, bill)[:2], rig.holds()) == (("updated", Decimal(1310)), [])


@pytest.mark.parametrize("change", ["line", "number", "vendor", "date", "project", "description"])
def test_S31_an_edit_of_what_we_sent_needs_approval_again_and_procore_keeps_what_it_has(
    rig: Rig, change: str
) -> None:
    gate(rig)
    bill = rig.bookkeeper.bill("4471", [line(12_000, item="101")])
    rig.sync()
    decide(rig, bill, Choice.APPROVE)
    rig.settle()
    edits: dict[str, dict[str, Any]] = {
        "line": {"Line": [line(13_000, item="101")]},
        "number": {"DocNumber": "4471-A"},
        "vendor": {"VendorRef": {"value": "23"}},
        "date": {"TxnDate": "2026-02-03"},
        "project": {"Line": [line(12_000, item="101", customer="62")]},
        "description": {"Line": [line(12_000, item="101", description="something else")]},
    }
    rig.bookkeeper.edit("Bill", bill, **edits[change])
    before = rig.procore.mark()
    rig.sync()
    assert reasons(rig, bill) == ["NEEDS_APPROVAL"]
    assert [entry for entry in rig.procore.writes(before) if "direct_costs" in entry] == []
    assert rig.cost_of(bill["Id"])["grand_total"] == "12000.00"
    decide(rig, bill, Choice.APPROVE)
    rig.settle()
    assert money(rig, bill)[3] == 0
    assert rig.holds() == []
    writes_nothing(rig)


@pytest.mark.parametrize("when", ["before it is sent", "after it was posted"])
def test_S31_a_payment_asks_for_no_other_approval(rig: Rig, when: str) -> None:
    gate(rig)
    bill = rig.bookkeeper.bill("4471", [line(12_000, item="101")])
    rig.sync()
    decide(rig, bill, Choice.APPROVE)
    if when == "after it was posted":
        rig.settle()
    rig.bookkeeper.pay(bill, "5000")
    rig.sync()
    assert rig.holds(bill["Id"]) == []
    assert money(rig, bill)[1] == Decimal(12_000)


def test_S31_a_rule_that_sends_an_approved_bill_elsewhere_asks_again(rig: Rig) -> None:
    gate(rig)
    bill = rig.bookkeeper.bill("4471", [line(12_000, item="101")])
    rig.sync()
    decide(rig, bill, Choice.APPROVE)
    other = f"{MAPPING_HEADER}\n,Ready-mix,,,,,,,,direct_cost,03-3000,L,,,,,\n"
    rig.publish(mapping=other)
    rig.settle()
    (hold,) = rig.holds()
    assert "03-3000 / L" in hold.sentence
    rig.publish(mapping=f"{MAPPING}{MAPPING.splitlines()[-1]}\n")  # another version that maps it as approved
    rig.settle()
    assert money(rig, bill)[0] == "posted"


def test_S30_a_gate_that_is_set_up_later_leaves_alone_what_procore_holds(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4471", [line(12_000, item="101")])
    rig.sync()
    gate(rig)
    rig.bookkeeper.pay(bill, "5000")
    rig.sync()
    assert rig.holds() == []
    assert money(rig, bill)[:2] == ("no-op", Decimal(12_000))
    rig.bookkeeper.edit("Bill", bill, Line=[line(12_500, item="101")])
    rig.sync()
    assert reasons(rig, bill) == ["NEEDS_APPROVAL"]
    assert money(rig, bill) == ("held", Decimal(12_000), Decimal(0), Decimal(500))


def test_S30_with_the_gate_for_all_every_bill_that_posts_something_waits(rig: Rig) -> None:
    rig.configure(policies={"approval": "all"})
    bill = rig.bookkeeper.bill("4471", [line(5, item="101")])
    overhead = rig.bookkeeper.bill("4472", [line(5, account="5", customer=None)])
    bad = rig.bookkeeper.bill("4473", [line(5, account=UNMAPPED_ACCOUNT)])
    rig.sync()
    assert (reasons(rig, bill), reasons(rig, bad)) == (["NEEDS_APPROVAL"], ["UNMAPPED"])
    assert rig.record("Bill", overhead["Id"]).state == "excluded"
    rig.publish(mapping=TOOLS_RULE)
    rig.settle()
    assert reasons(rig, bad) == ["NEEDS_APPROVAL"]


def test_S30_a_dry_run_foresees_the_gate(rig: Rig) -> None:
    gate(rig)
    bill = rig.bookkeeper.bill("4471", [line(12_000, item="101")])
    rig.read()
    from datetime import UTC, datetime

    from ml_connector.orchestration.clients import procore_client

    client = procore_client(rig.home, rig.connection, rig.engine)
    foreseen = Preview(rig.connection, rig.engine, client, datetime.now(UTC)).foresee([today()])
    (entry,) = [entry for entry in foreseen if entry.qbo_id == bill["Id"] and entry.entity == "Bill"]
    assert (entry.action, "needs approval" in entry.why) == ("hold", True)
    rig.settle()


def test_the_limit_goes_with_the_policy(rig: Rig) -> None:
    rig.configure(policies={"approval": "above"})
    with pytest.raises(SetupError, match="approval_above"):
        _ = rig.connection
    rig.configure(policies={"approval_above": 10_000.5})
    assert rig.connection.policies.approval_above == Decimal("10000.5")


# -- the choices of other holds --------------------------------------------------------------------------------------


def test_S13_a_bill_that_is_no_duplicate_is_posted_anyway(rig: Rig) -> None:
    first = rig.bookkeeper.bill("INV-1001", [line(10, item="101")])
    second = rig.bookkeeper.bill("INV-1001", [line(25, item="101")])
    rig.sync()
    (hold,) = rig.holds()
    assert hold.choices == (Choice.POST_ANYWAY, Choice.EXCLUDE)
    decide(rig, second, Choice.POST_ANYWAY)
    rig.settle()
    assert (money(rig, first)[1], money(rig, second)[1]) == (Decimal(10), Decimal(25))
    # Procore takes a vendor's number once: the second carries its id in QBO, and keeps it.
    assert rig.cost_of(second["Id"])["invoice_number"] == f"INV-1001-{second['Id']}"
    rig.bookkeeper.edit("Bill", second, Line=[line(26, item="101")])
    rig.sync()
    assert money(rig, second)[:2] == ("updated", Decimal(26))
    assert rig.cost_of(second["Id"])["invoice_number"] == f"INV-1001-{second['Id']}"
    writes_nothing(rig)


def test_S13_a_bill_that_is_no_duplicate_and_goes_to_two_projects_has_a_number_for_each(rig: Rig) -> None:
    rig.procore.switch(invoice_number_scope="company")
    rig.bookkeeper.bill("INV-1001", [line(10, item="101")])
    second = rig.bookkeeper.bill("INV-1001", [line(25, item="101"), line(5, item="101", customer="62")])
    rig.sync()
    decide(rig, second, Choice.POST_ANYWAY)
    rig.settle()
    numbers = [rig.cost_of(second["Id"], project)["invoice_number"] for project in (HARBOR, ELM)]
    assert numbers == [f"INV-1001-{second['Id']}", f"INV-1001-{second['Id']}-2"]
    writes_nothing(rig)


def test_S13_neither_of_two_is_a_duplicate_once_that_is_said_of_one(rig: Rig) -> None:
    first = rig.bookkeeper.bill("INV-1001", [line(10, account=UNMAPPED_ACCOUNT)])
    second = rig.bookkeeper.bill("INV-1001", [line(25, item="101")])
    rig.sync()
    decide(rig, second, Choice.POST_ANYWAY)
    rig.settle()
    rig.publish(mapping=TOOLS_RULE)
    rig.settle()
    assert rig.holds() == []
    assert (money(rig, first)[1], money(rig, second)[1]) == (Decimal(10), Decimal(25))


def test_S13_a_decision_lapses_with_an_edit(rig: Rig) -> None:
    rig.bookkeeper.bill("INV-1001", [line(10, item="101")])
    second = rig.bookkeeper.bill("INV-1001", [line(25, item="101")])
    rig.sync()
    decide(rig, second, Choice.POST_ANYWAY)
    rig.bookkeeper.edit("Bill", second, Line=[line(10, item="101")])
    rig.sync()
    assert reasons(rig, second) == ["POSSIBLE_DUPLICATE"]
    assert len(rig.direct_costs()) == 1


@pytest.mark.parametrize("cause", ["unmapped", "duplicate", "refused", "approval"])
def test_a_held_bill_is_excluded_with_its_money_and_stays_so_when_it_is_paid(rig: Rig, cause: str) -> None:
    if cause == "duplicate":
        rig.bookkeeper.bill("4471", [line(1, item="101")])
    elif cause == "approval":
        rig.configure(policies={"approval": "all"})
    account = UNMAPPED_ACCOUNT if cause == "unmapped" else "1"
    bill = rig.bookkeeper.bill("4471", [line("20.10", account=account)])
    if cause == "refused":
        rig.procore.fault({"route": HEADERS, "fault": "item_fault"})
    rig.sync()
    assert len(reasons(rig, bill)) == 1
    assert "needs a comment" in refusal(rig, bill, Choice.EXCLUDE)
    decide(rig, bill, Choice.EXCLUDE, comment="not job cost")
    rig.procore.no_faults()
    rig.settle()
    assert money(rig, bill) == ("excluded", Decimal(0), Decimal("20.10"), Decimal(0))
    assert rig.holds(bill["Id"]) == []
    with rig.engine.connect() as db:
        why = db.scalars(
            text("select reason from ml_connector.mapped_line where entity = 'Bill' and qbo_id = :id"),
            {"id": bill["Id"]},
        ).all()
    assert why == ["EXCLUDED_BY_DECISION"]
    payment = rig.bookkeeper.pay(bill, "20.10")
    rig.sync()
    assert money(rig, bill)[0] == "excluded"
    paid = rig.record("BillPayment", payment["Id"])
    assert (paid.state, paid.excluded) == ("excluded", Decimal("20.10"))
    said = refusal(rig, bill, Choice.EXCLUDE, comment="again")
    assert "is excluded: there is nothing to decide. The last decision on it was exclude, by berta" in said
    writes_nothing(rig)
    rig.configure(policies={"approval": "off"})
    rig.bookkeeper.edit("Bill", bill, Line=[line(30, item="101")], DocNumber="4471-B")
    rig.sync()
    assert money(rig, bill)[:2] == ("posted", Decimal(30)), "another version is another matter"


def test_what_procore_counts_is_not_taken_away_by_an_exclusion(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4471", [line(10, item="101")])
    rig.sync()
    rig.bookkeeper.edit("Bill", bill, Line=[line(20, account=UNMAPPED_ACCOUNT)])
    rig.sync()
    said = refusal(rig, bill, Choice.EXCLUDE, comment="no")
    assert "Procore counts 10.00 of bill:" in said
    assert "void or delete it in QBO" in said
    assert money(rig, bill) == ("held", Decimal(10), Decimal(0), Decimal(10))


@pytest.mark.parametrize("choice", [Choice.BRING_IN, Choice.EXCLUDE])
def test_S60_a_bill_entered_after_the_start_is_brought_in_or_left_out(rig: Rig, choice: Choice) -> None:
    go_live(rig)
    bill = rig.bookkeeper.bill("4471", [line(1250, item="101")], day="2025-12-30")
    payment = rig.bookkeeper.pay(bill, "1000")
    rig.sync()
    assert reasons(rig, bill) == ["ENTERED_AFTER_START"]
    decide(rig, bill, choice, comment="agreed")
    rig.settle()
    paid = rig.record("BillPayment", payment["Id"])
    if choice is Choice.EXCLUDE:
        assert money(rig, bill) == ("excluded", Decimal(0), Decimal(1250), Decimal(0))
        assert (paid.state, paid.excluded) == ("excluded", Decimal(1000))
        return
    assert money(rig, bill) == ("posted", Decimal(1250), Decimal(0), Decimal(0))
    assert rig.cost_of(bill["Id"])["direct_cost_date"] == "2025-12-30"
    assert paid.state == "posted"
    rig.bookkeeper.edit("Bill", bill, Line=[line(1300, item="101")])
    rig.sync()
    assert money(rig, bill)[:2] == ("updated", Decimal(1300)), "what was brought in follows its edits"
    writes_nothing(rig)


@pytest.mark.parametrize(
    ("choice", "dated"), [(Choice.POST_ANYWAY, "2026-05-28"), (Choice.NEXT_OPEN_DAY, "2026-06-01")]
)
def test_S18_a_bill_of_a_closed_period_is_posted_with_its_own_date_or_on_the_first_open_day(
    rig: Rig, choice: Choice, dated: str
) -> None:
    go_live(rig)
    rig.configure(policies={"books_closed_to": "2026-05-31"})
    bill = rig.bookkeeper.bill("4503", [line(10, item="101")], day="2026-05-28")
    rig.sync()
    (hold,) = rig.holds()
    assert (hold.reason, hold.choices) == (
        "PERIOD_CLOSED",
        (Choice.POST_ANYWAY, Choice.NEXT_OPEN_DAY, Choice.EXCLUDE),
    )
    made = decide(rig, bill, choice)
    assert made.next_open_day == (date(2026, 6, 1) if choice is Choice.NEXT_OPEN_DAY else None)
    rig.settle()
    assert rig.cost_of(bill["Id"])["direct_cost_date"] == dated
    assert money(rig, bill)[:2] == ("posted", Decimal(10))
    (told,) = entries(rig, bill, "decided")
    assert told.detail["dated"] == "2026-05-28"
    assert told.detail["to_be_dated"] == ("2026-06-01" if choice is Choice.NEXT_OPEN_DAY else None)
    assert "released" in rig.story("Bill", bill["Id"])
    rig.configure(policies={"books_closed_to": "2026-06-30"})
    before = rig.procore.mark()
    rig.bookkeeper.pay(bill, "5")
    rig.sync()
    assert rig.holds() == [], "a payment moves nothing, whatever has been closed since"
    assert [entry for entry in rig.procore.writes(before) if entry.startswith("PATCH")] == []
    assert rig.cost_of(bill["Id"])["direct_cost_date"] == dated
    writes_nothing(rig)
    rig.bookkeeper.edit("Bill", bill, Line=[line(12, item="101")])
    rig.sync()
    assert reasons(rig, bill) == ["PERIOD_CLOSED"]
    assert "which next_open_day would take away" in refusal(rig, bill, Choice.NEXT_OPEN_DAY)
    decide(rig, bill, Choice.POST_ANYWAY)
    rig.settle()
    assert money(rig, bill)[:2] == ("updated", Decimal(12))
    assert rig.cost_of(bill["Id"])["direct_cost_date"] == "2026-05-28"


def test_S18_a_bill_deleted_after_the_close_is_taken_out_when_a_person_says_so(rig: Rig) -> None:
    go_live(rig)
    bill = rig.bookkeeper.bill("4506", [line(10, item="101")], day="2026-05-28")
    rig.sync()
    rig.configure(policies={"books_closed_to": "2026-05-31"})
    rig.bookkeeper.delete("Bill", bill)
    rig.sync()
    assert reasons(rig, bill) == ["PERIOD_CLOSED"]
    decide(rig, bill, Choice.POST_ANYWAY)
    rig.settle()
    assert rig.record("Bill", bill["Id"]).state == "reversed"
    assert rig.direct_costs() == []


# -- one version, once, by a known person ----------------------------------------------------------------------------


def test_a_decision_is_made_once_and_is_never_changed(rig: Rig) -> None:
    gate(rig)
    bill = rig.bookkeeper.bill("4471", [line(12_000, item="101")])
    rig.sync()
    decide(rig, bill, Choice.APPROVE)
    for choice in (Choice.APPROVE, Choice.REJECT, Choice.EXCLUDE):
        said = refusal(rig, bill, choice, by="carl", comment="no")
        assert said.startswith(
            f"bill:{bill['Id']} (4471, Granite Supply, 12000.00) was decided before: approve, by berta"
        )
    rig.settle()
    assert "was decided before: approve, by berta" in refusal(rig, bill, Choice.REJECT, comment="too late")
    for change in ("update ml_connector.decision set choice = 'reject'", "delete from ml_connector.decision"):
        with pytest.raises(DBAPIError, match="never changed or removed"), rig.engine.begin() as db:
            db.execute(text(change))


def test_two_persons_at_once_make_one_decision(rig: Rig) -> None:
    gate(rig)
    bill = rig.bookkeeper.bill("4471", [line(12_000, item="101")])
    rig.sync()
    from concurrent.futures import ThreadPoolExecutor

    def say(by: str) -> str:
        try:
            decide(rig, bill, Choice.APPROVE, by=by)
        except DecisionRefused as refused:
            return str(refused)
        return "made"

    with ThreadPoolExecutor(4) as people:
        said = list(people.map(say, ["anna", "berta", "carl", "dora"]))
    assert said.count("made") == 1
    assert sum("was decided before: approve, by " in one for one in said) == 3
    rig.settle()


def test_an_outdated_decision_is_refused_and_says_what_was_decided_last(rig: Rig) -> None:
    gate(rig)
    bill = rig.bookkeeper.bill("4471", [line(12_000, item="101")])
    rig.sync()
    seen = rig.holds()[0].version
    decide(rig, bill, Choice.REJECT, comment="too dear", version=seen)
    rig.bookkeeper.edit("Bill", bill, Line=[line(15_000, item="101")])
    rig.sync()
    said = refusal(rig, bill, Choice.APPROVE, version=seen)
    assert f"is no longer at version {seen}" in said
    assert "the last decision on it was reject, by berta at " in said
    assert rig.holds()[0].version != seen
    decide(rig, bill, Choice.APPROVE, version=rig.holds()[0].version)
    rig.settle()


def test_what_is_not_offered_is_refused_with_what_is(rig: Rig) -> None:
    bill = rig.bookkeeper.bill("4471", [line(10, account=UNMAPPED_ACCOUNT)])
    good = rig.bookkeeper.bill("4472", [line(10, item="101")])
    payment = rig.bookkeeper.pay(bill, "10")
    rig.sync()
    assert "waits for UNMAPPED: it takes exclude (UNMAPPED), not approve" in refusal(
        rig, bill, Choice.APPROVE
    )
    assert "is posted: there is nothing to decide" in refusal(rig, good, Choice.EXCLUDE, comment="no")
    said = refusal(rig, payment, Choice.EXCLUDE, comment="no", entity="BillPayment")
    assert "waits for WAITING_FOR_BILL: nobody can decide that" in said
    assert "was never read" in refusal(rig, {"Id": "999"}, Choice.EXCLUDE, comment="no")


def test_a_bill_held_for_two_reasons_is_decided_for_each(rig: Rig) -> None:
    rig.bookkeeper.bill("4471", [line(10, item="101")])
    rig.configure(policies={"approval": "all"})
    bill = rig.bookkeeper.bill("4471", [line(20, item="101")])
    rig.sync()
    decide(rig, bill, Choice.POST_ANYWAY)
    rig.settle()
    assert reasons(rig, bill) == ["NEEDS_APPROVAL"]
    assert "was decided before: post_anyway" in refusal(rig, bill, Choice.POST_ANYWAY)
    decide(rig, bill, Choice.APPROVE)
    rig.settle()
    assert money(rig, bill)[:2] == ("posted", Decimal(20))


# -- replays ---------------------------------------------------------------------------------------------------------


def refuse(rig: Rig, *ids: str) -> None:
    """Procore refuses the direct costs of these bills, or of all."""
    answer = {"status": 422, "body": {"errors": {"base": ["Workflow is locked"]}}}
    rule = {"route": HEADERS, "fault": "status", "args": answer}
    rig.procore.fault(*({**rule, "contains": f':bill:{qbo_id}:101"'} for qbo_id in ids) if ids else (rule,))


def waiting(rig: Rig) -> list[replays.Waiting]:
    with rig.engine.connect() as db:
        return replays.waiting(db, rig.name)


def replay(rig: Rig, asked: Sequence[replays.Waiting]) -> list[replays.Outcome]:
    with rig.engine.begin() as db:
        replays.ask(db, rig.name, asked, by="berta")
    rig.post([today()], automatic=False)
    with rig.engine.begin() as db:
        return replays.conclude(db, rig.name, asked, runs=[rig.runs[-1]], by="berta")


def test_S32_a_bulk_replay_posts_what_it_can_and_tells_each_record_apart(rig: Rig) -> None:
    bills = [rig.bookkeeper.bill(f"7{number:03}", [line(10, item="101")]) for number in range(40)]
    refuse(rig)
    rig.sync()
    assert {hold.reason for hold in rig.holds()} == {"REFUSED"}
    asked = waiting(rig)
    assert (len(asked), sum(one.held for one in asked)) == (40, Decimal(400))
    rig.procore.no_faults()
    parallel = {("Bill", bill["Id"]) for bill in bills[:3]}
    post_only(rig, parallel)
    assert len(rig.direct_costs()) == 3
    still = [bill["Id"] for bill in bills[-5:]]
    refuse(rig, *still)
    outcomes = replay(rig, asked)
    assert replays.counted(outcomes) == {"held": 5, "no-op": 3, "posted": 32}
    assert len(rig.direct_costs()) == 35
    held = [outcome for outcome in outcomes if outcome.outcome == "held"]
    assert {outcome.record.qbo_id for outcome in held} == set(still)
    assert {(outcome.reasons, outcome.attempt) for outcome in held} == {(("REFUSED",), 2)}
    (told,) = entries(rig, bills[-1], "replayed")
    assert (told.actor, told.detail) == ("berta", {"outcome": "held", "reasons": ["REFUSED"], "attempt": 2})
    again = replay(rig, waiting(rig))
    assert replays.counted(again) == {"held": 5}
    assert {outcome.attempt for outcome in again} == {3}
    before = rig.procore.mark()
    rig.post([today()])
    assert rig.procore.writes(before) == [], "an automatic run sends no refused body again"


def post_only(rig: Rig, only: set[tuple[str, str]]) -> None:
    """A person's run that is limited to some records."""
    from dataclasses import replace

    from ml_connector.orchestration import work
    from ml_connector.orchestration.clients import procore_client

    run = replace(rig.run([today()], automatic=False), only=frozenset(only))
    client = procore_client(rig.home, rig.connection, rig.engine)
    work.map_days(rig.engine, rig.connection, run, lambda: client)
    work.post(rig.engine, rig.connection, run, client, work.KINDS)


def test_S32_a_replay_of_one_record_leaves_the_others_of_its_day_alone(rig: Rig) -> None:
    bills = [rig.bookkeeper.bill(f"7{number:03}", [line(10, item="101")]) for number in range(3)]
    refuse(rig)
    rig.sync()
    rig.procore.no_faults()
    fresh = rig.bookkeeper.bill("8000", [line(5, item="101")])
    rig.read()
    post_only(rig, {("Bill", bills[1]["Id"])})
    assert [cost["origin_id"].split(":")[3] for cost in rig.direct_costs()] == [bills[1]["Id"]]
    assert rig.dirty() == [today()], "what else the day has to do is still to come"
    rig.settle()
    assert money(rig, fresh)[:2] == ("posted", Decimal(5))
    assert len(rig.direct_costs()) == 2
