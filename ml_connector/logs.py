"""How processes of ours log: one line an event, without secrets and without records of the books.

Lines say which call, connection and run; what a bill holds stands in the store. The receiver, which must not know what
secrets look like here, logs on its own.
"""

import logging
import os
import re
import sys
from collections.abc import Iterable
from datetime import date
from decimal import Decimal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

LEVEL_VARIABLE = "ML_CONNECTOR_LOG"  # debug, info, warning or error; `debug` has a line for every vendor call
REDACTED = "[redacted]"
RUNS = "dagster"  # the name of the logger of a run's console
LONGEST = 500  # characters of one value: a sentence, never a record
SHORTEST_SECRET = 8  # a shorter value would be found inside ordinary words
_NAMES = re.compile(r"secret|token|password|authorization|cookie|verifier|^(code|state|key)$", re.IGNORECASE)
_SHAPES = re.compile(
    r"(?i:\b(?:bearer|basic)\s+[\w.~+/=-]{8,})"
    r"|\beyJ[\w-]{8,}\.[\w.-]+"  # JSON web tokens, as both vendors' access tokens are
    r"|\bRT1-[\w-]{6,}"  # Intuit's refresh tokens, new and old
    r"|\bAB1[\w-]{20,}"
    r"|(?i:(?<=refresh_token=)|(?<=access_token=)|(?<=client_secret=)|(?<=code=)|(?<=token=))[^&\s\"']+"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"  # account and password in an address
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

_known: set[str] = set()


def keep_out(secrets: Iterable[str]) -> None:
    """Never log these values of this process, whatever text they stand in."""
    _known.update(secret for secret in secrets if len(secret) >= SHORTEST_SECRET)


def redacted(text: str) -> str:
    """`text` on one line, without known secrets and without what looks like one."""
    for secret in _known:
        if secret in text:
            text = text.replace(secret, REDACTED)
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", _SHAPES.sub(REDACTED, text))


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The processor: plain values stay, text is redacted and cut, and of anything else only its type is told."""
    return {
        redacted(name): REDACTED if _NAMES.search(name) else _told(value) for name, value in event.items()
    }


def _told(value: object) -> object:
    if value is None or isinstance(value, bool | int | float | Decimal | date):
        return value
    if isinstance(value, str):
        text = redacted(value)
        return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    return f"<{type(value).__name__}>"


def configure(level: int | None = None, *, for_people: bool = False) -> None:
    """Log to standard error from `level` on, by default from that of ML_CONNECTOR_LOG, else info.

    JSON lines, or readable ones `for_people`. May be called again.
    """
    writer: Processor = structlog.processors.JSONRenderer(sort_keys=True)
    if for_people:
        writer = structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            redact,
            writer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_level() if level is None else level),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    # Dagster makes a console logger of its own for every run, of the class that is set here.
    if not issubclass(logging.getLoggerClass(), _Logger):
        logging.setLoggerClass(_Logger)


def _level() -> int:
    found = logging.getLevelNamesMapping().get(os.environ.get(LEVEL_VARIABLE, "").upper())
    return logging.INFO if found is None else found


class _Logger(logging.Logger):
    """As it comes, but for the one that tells of runs."""

    def __init__(self, name: str, level: int = logging.NOTSET) -> None:
        super().__init__(name, level)
        if name == RUNS:
            self.addFilter(_RunEvents())


class _RunEvents(logging.Filter):
    """Of a run's events the console is told which, never what they say: bills stand in there, and the run page has them."""

    def filter(self, record: logging.LogRecord) -> bool:
        meta = getattr(record, "dagster_meta", None)
        event = None if meta is None else meta.get("dagster_event")
        if meta is not None and event is not None:
            parts = (meta.get("job_name"), meta.get("run_id"), meta.get("step_key"), event.event_type_value)
            record.msg, record.args = " - ".join(filter(None, parts)), ()
            record.exc_info = record.exc_text = None
        else:
            record.msg, record.args = redacted(record.getMessage()), ()
        return True
