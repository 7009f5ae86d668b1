"""Bills as QBO really writes them, loaded raw: all are read and decided, and no cent of them is lost."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ml_connector.store import landing
from ml_connector_tests.reading.desk import versions
from ml_connector_tests.rig import MAPPING_HEADER, Rig

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = Path(os.environ.get("ML_CONNECTOR_REFERENCE") or ROOT.parent / "shared" / "reference")
SAMPLES = REFERENCE / "qbo-samples"
KINDS = ("Vendor", "Account", "Item", "Customer", "Bill", "BillPayment", "VendorCredit", "Purchase")
# Bodies that a client sends, and documentation that shortens its records.
NO_RECORDS = ("request", "delete", "void", "doc-sample")
MAPPING = f"""{MAPPING_HEADER}
64,,,,,,,,,direct_cost,03-3000,M,,,,,decks and patios
77,,,,,,,,,direct_cost,01-7800,O,101,,,,telephone
,Concrete,,,,,,,,direct_cost,03-3000,M,,,,,
"""
PROJECTS = "customer,project,note\n26,101,Travis Waldron\n61,102,Riverside Clinic\n"


def records(body: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every living record of a known kind, however deep the answer wraps it."""
    if isinstance(body, list):
        for entry in body:
            yield from records(entry)
    if isinstance(body, dict):
        for name, value in body.items():
            for row in value if isinstance(value, list) else [value]:
                if name in KINDS and isinstance(row, dict) and "Id" in row and "status" not in row:
                    yield name, row
            if name not in KINDS:
                yield from records(value)


@pytest.fixture
def recorded() -> dict[str, dict[str, dict[str, Any]]]:
    """The samples' records by kind and id."""
    if not SAMPLES.is_dir():
        pytest.skip(
            "the recorded QuickBooks samples are not here: set ML_CONNECTOR_REFERENCE to their folder"
        )
    found: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in KINDS}
    for path in sorted(SAMPLES.glob("*.json")):
        if not any(word in path.name for word in NO_RECORDS):
            for kind, row in records(json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)):
                found[kind].setdefault(row["Id"], row)
    return found


def test_recorded_bills_are_read_mapped_and_decided_without_losing_a_cent(
    rig: Rig, recorded: dict[str, dict[str, dict[str, Any]]]
) -> None:
    rig.publish(mapping=MAPPING, projects=PROJECTS)
    rig.qbo.load(**{kind: list(rows.values()) for kind, rows in recorded.items()})
    rig.sync()
    bills = recorded["Bill"]
    assert len(bills) >= 8
    states: dict[str, str] = {}
    for qbo_id, raw in bills.items():
        assert len(versions(rig, qbo_id)) == 1
        record = rig.record("Bill", qbo_id)
        assert record.total == Decimal(raw["TotalAmt"])
        assert record.posted + record.excluded + record.held == record.total
        assert record.state != "held" or rig.holds(qbo_id)[0].sentence
        states[qbo_id] = record.state
    assert states["25"] == "posted", "a line on a linked customer, its account in the table"
    assert rig.cost_of("25")["grand_total"] == "103.55"
    assert states["108"] == "excluded", "accounting fees without a project"
    assert states["310"] == "held", "retainage stands on an account that nobody listed"
    assert set(states.values()) <= {"posted", "excluded", "held"}


def test_recorded_bodies_come_back_from_landing_as_they_were(
    rig: Rig, recorded: dict[str, dict[str, dict[str, Any]]]
) -> None:
    rig.qbo.load(**{kind: list(rows.values()) for kind, rows in recorded.items()})
    rig.read()
    with rig.engine.connect() as db:
        for kind in ("Bill", "Account", "Item", "Customer"):
            landed = landing.newest(db, rig.name, kind, recorded[kind])
            assert set(landed) == set(recorded[kind])
            for qbo_id, version in landed.items():
                assert {name: version.raw[name] for name in recorded[kind][qbo_id]} == recorded[kind][qbo_id]


def test_recorded_records_read_twice_cost_nothing(
    rig: Rig, recorded: dict[str, dict[str, dict[str, Any]]]
) -> None:
    del recorded["VendorCredit"]  # dated before the start: CDC is the first to bring it
    rig.qbo.load(**{kind: list(rows.values()) for kind, rows in recorded.items()})
    rig.read()
    touched = {"LastUpdatedTime": datetime.now(UTC).isoformat()}
    rig.qbo.load(
        **{kind: [row | {"MetaData": touched} for row in rows.values()] for kind, rows in recorded.items()}
    )
    reading = rig.read()
    assert (reading.new.total(), reading.unchanged) == (0, sum(len(rows) for rows in recorded.values()))
