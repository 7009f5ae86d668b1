"""The windows of a connection: days in the company's time zone, the open one included. Frozen once a connection is live."""

import dagster as dg

from ml_connector.settings import Connection


def windows_of(connection: Connection) -> dg.DailyPartitionsDefinition:
    """Daily partitions from the connection's start date to today.

    `end_offset=1` adds the day that is still open; it is re-run through the day.
    """
    return dg.DailyPartitionsDefinition(
        start_date=connection.start_date.isoformat(), timezone=connection.time_zone, end_offset=1
    )
