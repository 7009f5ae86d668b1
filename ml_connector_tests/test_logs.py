"""T6: what the logs of our processes keep out, by known value, by shape and by name."""

import io
import json
import logging
from contextlib import redirect_stderr
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from ml_connector import logs
from ml_connector.store.database import open_engine


def written(**facts: Any) -> dict[str, Any]:
    """The one line that a service writes."""
    logs.configure()
    with redirect_stderr(io.StringIO()) as out:
        structlog.get_logger().warning("something", **facts)
    (line,) = out.getvalue().splitlines()
    told: dict[str, Any] = json.loads(line)
    return told


@pytest.mark.parametrize(
    "text",
    [
        "Bearer abcdefgh.12345",
        "basic c2FuZGJveDpzZWNyZXQ=",
        "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig",
        "RT1-117-H0-17c8a4b",
        "AB11732000000abcdefghijklmnop",
        "POST /x?refresh_token=onetwothree&y=1",
        "https://here/callback?code=XYZ123&state=1",
        "postgresql://books:pass-word@host/db",
    ],
)
def test_T6_what_looks_like_a_secret_is_redacted(text: str) -> None:
    told = written(why=text)["why"]
    assert logs.REDACTED in told
    for part in ("abcdefgh", "c2Fu", "eyJ", "RT1", "AB117", "onetwothree", "XYZ123", "pass-word"):
        assert part not in told


def test_T6_a_known_secret_is_redacted_wherever_it_stands() -> None:
    logs.keep_out(["Winter-Is-Here-7", ""])
    told = written(why="refused: Winter-Is-Here-7!", **{"Winter-Is-Here-7": 1})
    assert "Winter" not in json.dumps(told)
    assert told["why"] == f"refused: {logs.REDACTED}!"


def test_T6_values_named_as_secrets_and_records_are_never_written() -> None:
    bill = {"DocNumber": "4471", "PrivateNote": "Harbor"}
    told = written(
        access_token="short",
        password="x",
        record=bill,
        error=ValueError("Granite Supply"),
        amount=Decimal("1.5"),
    )
    assert (told["access_token"], told["password"]) == (logs.REDACTED, logs.REDACTED)
    assert (told["record"], told["error"]) == ("<dict>", "<ValueError>")
    assert "Granite" not in json.dumps(told)


def test_a_line_stays_one_line_and_short() -> None:
    told = written(why="a\r\n2026-01-01 [info] forged\x1b[31m" + "x" * 9000)
    assert "\n" not in told["why"]
    assert "\x1b" not in told["why"]
    assert len(told["why"]) <= logs.LONGEST + 1


def test_vendor_calls_are_told_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for level, lines in (("", 0), ("info", 0), ("debug", 1), ("nonsense", 0)):
        monkeypatch.setenv(logs.LEVEL_VARIABLE, level)
        logs.configure()
        with redirect_stderr(io.StringIO()) as out:
            structlog.get_logger().debug("vendor call", vendor="qbo")
        assert len(out.getvalue().splitlines()) == lines, level


def test_T6_of_a_runs_events_the_console_is_told_which_and_not_what() -> None:
    logs.configure()
    console = logging.getLoggerClass()(logs.RUNS, logging.INFO)  # as Dagster makes it for a run
    out = io.StringIO()
    console.addHandler(logging.StreamHandler(out))
    meta = {
        "job_name": "acme__sync",
        "run_id": "r1",
        "step_key": "post",
        "dagster_event": SimpleNamespace(event_type_value="STEP_FAILURE"),
    }
    console.error("bill 4471 of Granite Supply", extra={"dagster_meta": meta})
    console.info("read 3 bills, RT1-117-H0-17c8a4b")
    assert out.getvalue().splitlines() == [
        "acme__sync - r1 - post - STEP_FAILURE",
        f"read 3 bills, {logs.REDACTED}",
    ]


def test_T6_an_error_of_the_database_does_not_show_the_record(database_url: str) -> None:
    engine = open_engine(database_url)
    with pytest.raises(DBAPIError) as caught, engine.connect() as db:
        db.execute(text("select cast(:amount as integer) from nowhere"), {"amount": "Granite Supply"})
    assert "Granite" not in str(caught.value)
    engine.dispose()
