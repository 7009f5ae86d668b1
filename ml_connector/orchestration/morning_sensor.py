"""The morning notes, once a day and reader; one that could not leave is tried again at the next tick."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from ml_connector.settings import Connection, Home

EVERY_SECONDS = 600


def morning_sensor(connections: Sequence[Connection], home: Home) -> dg.SensorDefinition:
    """Sends the notes that are due: from half past six in the zone of the books."""

    @dg.sensor(
        name="morning_notes",
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells accounting what needs it, and each project what was posted since yesterday; `alarms` in "
        "connection.yaml names the readers. Nothing to say, no note.",
    )
    def morning_notes(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        from ml_connector.errors import NoticeNotSent, SetupError
        from ml_connector.orchestration.ticks import engine
        from ml_connector.settings import load_connection
        from ml_connector.watching import notes

        last: dict[str, str] = json.loads(context.cursor) if context.cursor else {}
        now = datetime.now(UTC)
        sent: list[str] = []
        failures: list[str] = []
        for loaded in connections:
            connection = load_connection(home, loaded.name)  # readers may have changed since
            local = now.astimezone(connection.zone)
            if local.time() < notes.AT:
                continue
            for reader in notes.readers(connection):
                key = f"{connection.name} {reader}"
                before = datetime.fromisoformat(last[key]) if key in last else now - timedelta(days=1)
                if key in last and before.astimezone(connection.zone).date() == local.date():
                    continue
                with engine().connect() as db:
                    note = notes.note_for(db, connection, reader, since=before)
                if note is not None:
                    try:
                        notes.send(connection, note)
                    except (NoticeNotSent, SetupError) as error:
                        failures.append(f"{key}: {error}")
                        continue
                    sent.append(key)
                last[key] = now.isoformat()
        if failures and not sent:
            raise NoticeNotSent("; ".join(failures))
        context.update_cursor(json.dumps(last))
        return dg.SkipReason(
            "; ".join([f"sent to {', '.join(sent)}"] * bool(sent) + failures) or "no note is due"
        )

    return morning_notes
