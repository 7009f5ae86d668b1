"""The notes that people find in the morning."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
import time_machine

from ml_connector.errors import NoticeNotSent
from ml_connector.orchestration import ticks
from ml_connector_tests.mailbox import Mailbox, listening
from ml_connector_tests.orchestration.stage import Stage
from ml_connector_tests.rig import HARBOR, line


@pytest.fixture
def mailbox(stage: Stage) -> Iterator[Mailbox]:
    """The firm's mail server; accounting and the project manager of Harbor Clinic get notes."""
    box = Mailbox()
    stage.rig.configure(
        alarms={
            "mail": {
                "host": "127.0.0.1",
                "port": box.port,
                "security": "none",
                "sender": "books@firm.example",
            },
            "accounting": ["ap@firm.example"],
            "projects": {HARBOR: ["pm@firm.example"]},
        }
    )
    with listening(box):
        yield box
    ticks.engine().dispose()


def morning(days: int = 1, *, hour: int = 7) -> datetime:
    """A morning so many days from now, in the zone of the books, which is UTC."""
    return (datetime.now(UTC) + timedelta(days=days)).replace(hour=hour, minute=0)


def tick(stage: Stage, cursor: str | None = None) -> Any:
    """One tick of the sensor."""
    context = dg.build_sensor_context(
        instance=stage.instance, definitions=stage.definitions, sensor_name="morning_notes", cursor=cursor
    )
    return stage.definitions.resolve_sensor_def("morning_notes").evaluate_tick(context)


def text_of(box: Mailbox, number: int) -> str:
    """The text of a message, on one line."""
    body = box.messages[number].get_body(("plain",))
    assert body is not None
    return " ".join(str(body.get_content()).split())


def test_accounting_gets_what_needs_it_with_the_sheet_and_the_project_what_was_posted_once_a_day(
    stage: Stage, mailbox: Mailbox
) -> None:
    stage.rig.bookkeeper.bill("4471", [line("1250.00", item="101")])
    stage.rig.bookkeeper.bill("4472", [line("300.00", account="7"), line("20.10", account="7")])
    stage.rig.sync()
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    before = json.dumps({"acme accounting": yesterday, f"acme {HARBOR}": yesterday})
    with time_machine.travel(morning(hour=5), tick=True):
        assert tick(stage, before).skip_message == "no note is due"
    with time_machine.travel(morning(), tick=True):
        first = tick(stage, before)
        assert first.skip_message == f"sent to acme accounting, acme {HARBOR}"
        assert tick(stage, first.cursor).skip_message == "no note is due"
    accounting, project = mailbox.messages
    assert (accounting["To"], accounting["Subject"]) == (
        "ap@firm.example",
        "acme: 1 record to look at, 320.10",
    )
    assert text_of(mailbox, 0).startswith("1 record to look at in acme: 320.10 in all, the oldest since ")
    assert "1 record, 320.10, for project controls (UNMAPPED): " in text_of(mailbox, 0)
    (sheet,) = accounting.iter_attachments()
    rows = list(csv.DictReader(io.StringIO(sheet.get_payload(decode=True).decode("utf-8-sig"))))  # type: ignore[union-attr]
    assert [(row["record"], row["number"]) for row in rows] == [("bill:2", "4472")]
    assert project["To"] == "pm@firm.example"
    assert "1 direct cost, 1,250.00 4471 Granite Supply 1,250.00" in text_of(mailbox, 1)
    assert "4472" not in text_of(mailbox, 1), "what waits is no cost of the project yet"
    with time_machine.travel(morning(2), tick=True):
        assert tick(stage, first.cursor).skip_message == "sent to acme accounting", "nothing was posted since"


def test_with_nothing_to_say_nothing_is_sent_and_a_note_that_cannot_leave_is_sent_later(
    stage: Stage, mailbox: Mailbox
) -> None:
    with time_machine.travel(morning(), tick=True):
        assert tick(stage).skip_message == "no note is due"
        stage.rig.bookkeeper.bill("4472", [line("300.00", account="7")])
        stage.rig.sync()
        mailbox.refuses = True
        with pytest.raises(NoticeNotSent, match="did not take a message"):
            tick(stage)
        mailbox.refuses = False
        sent = tick(stage)
        assert sent.skip_message == "sent to acme accounting"
        assert set(json.loads(sent.cursor)) == {"acme accounting", f"acme {HARBOR}"}
    assert len(mailbox.messages) == 1
