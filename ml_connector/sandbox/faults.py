"""Which request goes wrong, and how: rules given over `/_control/faults`, folded into one plan per request.

A rule is `{route, contains?, nth | every | probability + seed, times?, fault, args?}`; route is
"METHOD /path/glob*", `contains` a text of the query or body. Faults and their args:

    status                 status, body? (default: the vendor's own), retry_after?, processed?
    retry_after            retry_after: seconds | {date: seconds} | absent, status? (429)
    rate                   window (seconds), n, status?, retry_after?  over n in the window is refused
    down                   from?, to (seconds since the rule was given): every connection is closed
    delay                  seconds, when?: before | after the work
    drop                   closed before the work
    accept_then_drop       closed after the work
    work_after_disconnect  seconds: closed at once, worked later
    truncate               bytes of the body that are sent
    drip                   bytes_per_second
    reset                  when?: before | middle | after; the client sees ECONNRESET
    body                   kind: malformed | html | empty | nan | dupkeys | gzipbomb | huge | xml, status?
    redirect               url, status? (302), processed?
    header                 headers: {name: value} set on the answer
    token                  mode: daily | same | grace24h | single_use (QuickBooks; sets the switch)

`spoiling` holds what happens to an answer's bytes; `server` carries a plan out at the socket.
"""

import random
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from fnmatch import fnmatchcase
from typing import Any

from ml_connector.sandbox.clock import Clock
from ml_connector.sandbox.spoiling import BODY_FAULTS
from ml_connector.sandbox.wire import Request, Response

VENDOR_FAULTS = frozenset({"batch_item_fault", "item_fault", "search_lag"})
"""Faults inside an answer: handed to the vendor as `Request.instructions`."""


@dataclass
class Plan:
    """What is to happen to one request."""

    names: list[str] = field(default_factory=list)
    process: bool = True
    answer: bool = True
    delay_before: float = 0.0
    delay_after: float = 0.0
    work_after: float | None = None
    instead: Response | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    truncate: int | None = None
    drip: float | None = None
    reset: str | None = None
    instructions: dict[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass
class Rule:
    """One rule as given, with its counts: `seen` requests that matched, `hits` that were spoiled."""

    number: int
    route: str
    fault: str
    args: Mapping[str, Any]
    chosen: Callable[[int], bool]
    contains: str
    times: int | None
    since: datetime
    given: Mapping[str, Any]
    seen: int = 0
    hits: int = 0
    recent: deque[datetime] = field(default_factory=deque)

    def matches(self, request: Request) -> bool:
        """Whether the rule speaks of this request at all."""
        method, _, pattern = self.route.rpartition(" ")
        if method not in ("", "*", request.method) or not fnmatchcase(request.path, pattern):
            return False
        query = "&".join(f"{name}={value}" for name, value in request.query)
        return self.contains in query or self.contains.encode() in request.body


class FaultBook:
    """The rules of one server, in the order given. Safe for threads. They do not survive a restart."""

    def __init__(self, clock: Clock, refusal: Callable[[int], Response]) -> None:
        """`refusal` makes the vendor's own answer for a status without a body."""
        self.clock = clock
        self._refusal_of = refusal
        self._rules: list[Rule] = []
        self._made = 0
        self._lock = threading.Lock()

    def add(self, given: Mapping[str, Any]) -> int:
        """Take one rule and return its number. Raises ValueError saying what is wrong with it."""
        fault, args = str(given.get("fault")), given.get("args") or {}
        known = {"route", "nth", "every", "probability", "seed", "times", "fault", "args", "contains"}
        if set(given) - known:
            raise ValueError(f"unknown keys {sorted(set(given) - known)}; a rule has {sorted(known)}")
        if fault not in _FOLDS and fault not in VENDOR_FAULTS:
            raise ValueError(f"unknown fault {fault!r}; one of {sorted([*_FOLDS, *VENDOR_FAULTS])}")
        if not isinstance(args, Mapping):
            raise ValueError("args is an object")
        rule = Rule(
            number=self._made + 1,
            route=str(given.get("route", "* *")),
            fault=fault,
            args=args,
            chosen=_chooser(given),
            contains=str(given.get("contains", "")),
            times=None if given.get("times") is None else int(given["times"]),
            since=self.clock.now(),
            given=given,
        )
        if fault in _FOLDS:
            self._try(rule)
        with self._lock:
            self._made += 1
            self._rules.append(rule)
        return rule.number

    def plan(self, request: Request) -> Plan:
        """Count the request against every rule and fold those that fire into one plan."""
        plan = Plan()
        with self._lock:
            for rule in self._rules:
                if not rule.matches(request):
                    continue
                rule.seen += 1
                spent = rule.times is not None and rule.hits >= rule.times
                if not spent and rule.chosen(rule.seen) and self._fold(plan, rule):
                    rule.hits += 1
                    plan.names.append(rule.fault)
        return plan

    def listed(self) -> list[dict[str, Any]]:
        """The rules as given, with `number`, `seen` and `hits`."""
        with self._lock:
            return [
                {**rule.given, "number": rule.number, "seen": rule.seen, "hits": rule.hits}
                for rule in self._rules
            ]

    def clear(self) -> None:
        """Drop every rule."""
        with self._lock:
            self._rules.clear()

    def refuse(self, plan: Plan, rule: Rule, *, status: int) -> None:
        """Answer in the vendor's place, with the body and Retry-After that the rule's args tell."""
        args = rule.args
        own = args.get("body") is None
        answer = self._refusal_of(status) if own else Response(status, args["body"])
        wait = args.get("retry_after", "absent")
        if isinstance(wait, Mapping):  # {"date": seconds from now}
            instant = self.clock.now() + timedelta(seconds=float(wait["date"]))
            answer.headers["Retry-After"] = format_datetime(instant, usegmt=True)
        elif wait != "absent":
            answer.headers["Retry-After"] = str(wait)
        plan.instead = answer
        plan.process = bool(args.get("processed", False))

    def _fold(self, plan: Plan, rule: Rule) -> bool:
        if rule.fault in VENDOR_FAULTS:
            plan.instructions[rule.fault] = rule.args
            return True
        return _FOLDS[rule.fault](self, plan, rule)

    def _try(self, rule: Rule) -> None:
        """A rule that cannot be carried out is refused when it is given, not at its first hit."""
        try:
            self._fold(Plan(), rule)
        except KeyError as error:
            raise ValueError(f"{rule.fault} needs args.{error.args[0]}") from error
        except TypeError as error:
            raise ValueError(f"{rule.fault}: {error}") from error
        rule.recent.clear()


def _status(book: FaultBook, plan: Plan, rule: Rule) -> bool:
    book.refuse(plan, rule, status=int(rule.args["status"]))
    return True


def _retry_after(book: FaultBook, plan: Plan, rule: Rule) -> bool:
    book.refuse(plan, rule, status=int(rule.args.get("status", 429)))
    return True


def _rate(book: FaultBook, plan: Plan, rule: Rule) -> bool:
    now, window = book.clock.now(), timedelta(seconds=float(rule.args["window"]))
    while rule.recent and rule.recent[0] <= now - window:
        rule.recent.popleft()
    if len(rule.recent) < int(rule.args["n"]):
        rule.recent.append(now)
        return False
    book.refuse(plan, rule, status=int(rule.args.get("status", 429)))
    return True


def _down(book: FaultBook, plan: Plan, rule: Rule) -> bool:
    passed = (book.clock.now() - rule.since).total_seconds()
    if not float(rule.args.get("from", 0)) <= passed < float(rule.args["to"]):
        return False
    return _drop(book, plan, rule)


def _delay(_: FaultBook, plan: Plan, rule: Rule) -> bool:
    if rule.args.get("when", "before") == "before":
        plan.delay_before += float(rule.args["seconds"])
    else:
        plan.delay_after += float(rule.args["seconds"])
    return True


def _drop(_: FaultBook, plan: Plan, rule: Rule) -> bool:
    plan.process = plan.answer = False
    return True


def _accept_then_drop(_: FaultBook, plan: Plan, rule: Rule) -> bool:
    plan.answer = False
    return True


def _work_after_disconnect(_: FaultBook, plan: Plan, rule: Rule) -> bool:
    plan.work_after = float(rule.args["seconds"])
    return True


def _truncate(_: FaultBook, plan: Plan, rule: Rule) -> bool:
    plan.truncate = int(rule.args["bytes"])
    return True


def _drip(_: FaultBook, plan: Plan, rule: Rule) -> bool:
    plan.drip = float(rule.args["bytes_per_second"])
    if plan.drip <= 0:
        raise ValueError("bytes_per_second is above 0")
    return True


def _body(_: FaultBook, plan: Plan, rule: Rule) -> bool:
    if rule.args.get("kind") not in BODY_FAULTS:
        raise ValueError(f"kind is one of {sorted(BODY_FAULTS)}")
    plan.body = rule.args
    return True


def _redirect(_: FaultBook, plan: Plan, rule: Rule) -> bool:
    plan.instead = Response(int(rule.args.get("status", 302)), headers={"Location": str(rule.args["url"])})
    plan.process = bool(rule.args.get("processed", False))
    return True


def _header(_: FaultBook, plan: Plan, rule: Rule) -> bool:
    plan.headers.update({str(name): str(value) for name, value in rule.args["headers"].items()})
    return True


def _reset(_: FaultBook, plan: Plan, rule: Rule) -> bool:
    plan.reset = str(rule.args.get("when", "middle"))
    if plan.reset not in ("before", "after", "middle"):
        raise ValueError("when is before, middle or after")
    plan.process = plan.reset != "before"
    return True


_FOLDS: dict[str, Callable[[FaultBook, Plan, Rule], bool]] = {
    "status": _status,
    "retry_after": _retry_after,
    "rate": _rate,
    "down": _down,
    "delay": _delay,
    "drop": _drop,
    "accept_then_drop": _accept_then_drop,
    "work_after_disconnect": _work_after_disconnect,
    "truncate": _truncate,
    "drip": _drip,
    "body": _body,
    "redirect": _redirect,
    "header": _header,
    "reset": _reset,
}


def _chooser(given: Mapping[str, Any]) -> Callable[[int], bool]:
    """Which of the matching requests, counted from 1, the rule hits."""
    ways = [way for way in ("nth", "every", "probability") if given.get(way) is not None]
    if len(ways) > 1:
        raise ValueError(f"give one of nth, every, probability, not {ways}")
    if "nth" in ways:
        wanted = given["nth"] if isinstance(given["nth"], list) else [given["nth"]]
        return lambda seen: seen in wanted
    if "every" in ways:
        step = int(given["every"])
        if step < 1:
            raise ValueError("every is 1 or more")
        return lambda seen: seen % step == 0
    if "probability" in ways:
        if "seed" not in given:
            raise ValueError("probability needs a seed, so that a run can be repeated")
        dice, chance = random.Random(given["seed"]), float(given["probability"])
        return lambda seen: dice.random() < chance
    return lambda seen: True
