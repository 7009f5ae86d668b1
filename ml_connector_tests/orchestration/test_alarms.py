"""Alarms as people get them: one message for one trouble, one when it is over, and nothing else."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import time_machine
from sqlalchemy import insert, update

from ml_connector.errors import NoticeNotSent
from ml_connector.orchestration import ticks
from ml_connector.store import audit
from ml_connector.store.tables import breaker, hold, limiter, reading_cursor, vault
from ml_connector_tests.mailbox import Chat, Mailbox, listening
from ml_connector_tests.orchestration.stage import Stage
from ml_connector_tests.rig import COMPANY, line, today

RECONNECT = "QuickBooks must be connected again: run `ml-connector connect qbo acme`"


@pytest.fixture
def mailbox(stage: Stage) -> Iterator[Mailbox]:
    """The mail server of the firm; it@firm.example gets the alarms."""
    box = Mailbox()
    server = {"host": "127.0.0.1", "port": box.port, "security": "none", "sender": "books@firm.example"}
    stage.rig.configure(alarms={"to": ["it@firm.example"], "mail": server})
    with listening(box):
        yield box
    ticks.engine().dispose()


@pytest.fixture
def chat(stage: Stage, tmp_path: Path) -> Iterator[Chat]:
    """The firm's chat, which takes alarms too."""
    room = Chat()
    file = tmp_path / "hook"
    file.write_text(f"{room.url}\n")
    stage.rig.configure(alarms={"hook_file": str(file)})
    with listening(room):
        yield room


def tick(stage: Stage) -> str:
    """One tick of the sensor; what it shows in the UI."""
    context = dg.build_sensor_context(
        instance=stage.instance, definitions=stage.definitions, sensor_name="alarms"
    )
    return stage.definitions.resolve_sensor_def("alarms").evaluate_tick(context).skip_message or ""


def grant(stage: Stage, state: str) -> None:
    """QuickBooks' grant as it stands."""
    with stage.rig.engine.begin() as db:
        db.execute(update(vault).where(vault.c.system == "qbo").values(state=state))


def text_of(box: Mailbox, number: int) -> str:
    """The text of a message."""
    body = box.messages[number].get_body()
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


def test_S110_a_dead_grant_is_told_once_by_mail_and_chat_and_once_more_when_it_is_over(
    stage: Stage, mailbox: Mailbox, chat: Chat
) -> None:
    assert tick(stage) == "nothing that a person must know of"
    assert mailbox.messages == []
    grant(stage, "reconnect_needed")
    shown = {tick(stage) for _ in range(3)}
    assert len(shown) == 1
    assert RECONNECT in shown.pop()
    assert [(message["To"], message["From"]) for message in mailbox.messages] == [
        ("it@firm.example", "books@firm.example")
    ]
    assert mailbox.messages[0]["Subject"].startswith("ml-connector acme: QuickBooks must be connected again")
    assert mailbox.messages[0]["Auto-Submitted"] == "auto-generated"
    assert RECONNECT in text_of(mailbox, 0)
    assert len(chat.texts) == 1
    assert RECONNECT in chat.texts[0]
    grant(stage, "connected")
    for _ in range(2):
        assert tick(stage) == "nothing that a person must know of"
    assert len(mailbox.messages) == len(chat.texts) == 2
    assert text_of(mailbox, 1).startswith("acme\n\nOver: what was told on ")


def test_a_way_that_fails_neither_stops_the_other_nor_repeats_it_and_with_both_away_it_is_told_later(
    stage: Stage, mailbox: Mailbox, chat: Chat
) -> None:
    chat.status = 500
    grant(stage, "reconnect_needed")
    tick(stage)
    tick(stage)
    assert (len(mailbox.messages), chat.texts) == (1, [])
    grant(stage, "connected")
    mailbox.refuses = True
    with pytest.raises(NoticeNotSent) as failure:
        tick(stage)
    assert "answered HTTP 500" in str(failure.value)
    assert "SMTPRecipientsRefused" in str(failure.value)
    assert "s3cret-part" not in str(failure.value), "the address of a hook is a secret"
    mailbox.refuses = False
    tick(stage)
    tick(stage)
    assert len(mailbox.messages) == 2
    assert "Over:" in text_of(mailbox, 1)


def test_a_trouble_that_is_over_before_anybody_could_be_told_is_no_news(
    stage: Stage, mailbox: Mailbox
) -> None:
    mailbox.refuses = True
    grant(stage, "reconnect_needed")
    with pytest.raises(NoticeNotSent):
        tick(stage)
    mailbox.refuses = False
    grant(stage, "connected")
    tick(stage)
    assert mailbox.messages == []


def test_every_trouble_has_its_sentence_and_several_leave_in_one_message(
    stage: Stage, mailbox: Mailbox
) -> None:
    rig, now = stage.rig, datetime.now(UTC)
    rig.bookkeeper.bill("4471", [line("300.00", account="7")])
    rig.sync()
    account = f"procore:{COMPANY}"
    with rig.engine.begin() as db:
        db.execute(update(hold).values(since=now - timedelta(days=8)))
        db.execute(update(reading_cursor).values(read_to=now - timedelta(hours=3)))
        used_up = {"next_free": now, "paused_until": now + timedelta(minutes=20)}
        db.execute(update(limiter).where(limiter.c.account == account).values(**used_up))
        verdict = audit.Entry("proved", "Proof", "", {"balanced": False, "differences": 2})
        audit.append(db, rig.name, [verdict], run_id="", actor="")
    tick(stage)
    text = text_of(mailbox, 0)
    assert len(mailbox.messages) == 1
    assert "QuickBooks was last read up to" in text
    assert "1 record waits for more than 7 days (1 for " in text
    assert "does not balance: 2 differences. `ml-connector prove acme` names them." in text
    assert "Procore takes no more calls until" in text
    assert "4471" not in text, "numbers, names and money stay where people sign in"
    assert "300" not in text
    # The vendor being away says it all: that nothing was read since is no news beside it.
    away = {"attempts": 9, "calls": 9, "since": now - timedelta(hours=3), "reason": "timed out"}
    with rig.engine.begin() as db:
        db.execute(insert(breaker).values(connection=rig.name, system="qbo", open_until=now, **away))
    tick(stage)
    assert "QuickBooks does not answer since" in text_of(mailbox, 1)
    assert "Over: what was told on" in text_of(mailbox, 1)


def test_a_failed_run_is_told_by_its_link_unless_a_red_day_is_what_it_failed_for(
    stage: Stage, mailbox: Mailbox, impatient: None
) -> None:
    stage.refuse("4471")
    stage.bill("4471", "1250.00")
    assert not stage.run(today()).success
    tick(stage)
    assert "1 day is red for 1 record (REFUSED)." in text_of(mailbox, 0)
    assert "/runs/" not in text_of(mailbox, 0)
    stage.rig.procore.no_faults()
    with stage.rig.engine.begin() as db:
        db.execute(update(hold).values(reason="UNMAPPED"))
    tick(stage)
    assert text_of(mailbox, 1).startswith("acme\n\nOver: "), "the next run may mend it"
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=21), tick=True):
        tick(stage)
    failed = stage.instance.get_runs(limit=1)[0].run_id
    assert f"The newest run of acme__sync failed; /runs/{failed} says why." in text_of(mailbox, 2)
