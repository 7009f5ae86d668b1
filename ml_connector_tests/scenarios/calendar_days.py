"""Letting days go by in QBO, so that records fall into windows of their own."""

from datetime import date, timedelta

from ml_connector_tests.rig import Rig, today


def days_later(rig: Rig, days: int) -> date:
    """QBO lives `days` after today from now on, and the bookkeeper's session goes on; returns its new day."""
    rig.qbo.switch(token="same")
    rig.qbo.clock(offset_seconds=days * 86_400)
    rig.bookkeeper._token = ""
    return today() + timedelta(days=days)
