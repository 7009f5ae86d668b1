"""Telling people of troubles: one message for all that began or ended since the last one."""

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Engine

from ml_connector.errors import NoticeNotSent, SetupError
from ml_connector.settings import Alarms, Connection
from ml_connector.store import alarms
from ml_connector.store.alarms import Alarm
from ml_connector.transport.notices import post_hook, send_mail
from ml_connector.watching.causes import Cause


def tell(engine: Engine, connection: Connection, standing: Sequence[Cause], *, now: datetime) -> list[Alarm]:
    """Note the troubles that stand, and tell what is new of them; returns those that stand.

    A way to people that fails does not keep the other one from being used. Raises NoticeNotSent when all failed: the
    next call tells it then.
    """
    with engine.begin() as db:
        alarms.observe(db, connection.name, {cause.key: cause.sentence for cause in standing}, now=now)
        known = alarms.all_of(db, connection.name)
    news = [one for one in known if one.told_at is None or one.over_at is not None]
    ways = _ways(connection.alarms, connection.name)
    if news and ways:
        _send(ways, _text(connection, news))
        with engine.begin() as db:
            alarms.told(db, connection.name, news, now=now)
    return [one for one in known if one.over_at is None]


def _ways(settings: Alarms, name: str) -> list[Callable[[str], None]]:
    ways: list[Callable[[str], None]] = []
    if settings.mail is not None and settings.to:
        mail, to = settings.mail, settings.to
        ways.append(
            lambda text: send_mail(mail, to, subject=f"ml-connector {name}: {_first(text)}", text=text)
        )
    if settings.hook_file is not None:
        file = settings.hook_file
        ways.append(lambda text: post_hook(file, text))
    return ways


def _send(ways: Sequence[Callable[[str], None]], text: str) -> None:
    failures: list[NoticeNotSent | SetupError] = []
    for way in ways:
        try:
            way(text)
        except (NoticeNotSent, SetupError) as error:
            failures.append(error)
    if len(failures) == len(ways):
        raise NoticeNotSent("; ".join(map(str, failures)))


def _text(connection: Connection, news: Sequence[Alarm]) -> str:
    parts = []
    for one in news:
        since = f"{one.since.astimezone(connection.zone):%Y-%m-%d %H:%M}"
        if one.over_at is None:
            parts.append(one.sentence)
        else:
            parts.append(f"Over: what was told on {since} is so no more. It was: {one.sentence}")
    return f"{connection.name}\n\n" + "\n\n".join(parts) + "\n"


def _first(text: str) -> str:
    """The first sentence, short enough for a subject line."""
    line = text.split("\n")[2]
    return line if len(line) <= 90 else f"{line[:89]}…"
