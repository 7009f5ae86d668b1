"""Every fault that a run of a schedule may meet, by name: its row of the fault matrix, and how it is done.

What the sandbox does is a rule of its `/_control/faults`; what the proxy does is a toxic. Kills, Postgres, disk and clocks
are done by the crew.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ml_connector_tests.tcp_faults import Toxic

Vendor = Literal["qbo", "procore"]
Road = Literal["qbo", "procore", "postgres"]
WRITES = (
    "PATCH /rest/*",
    "POST /rest/*",
    "PATCH */vendors/sync",
    "POST */vendors*",
    "PATCH */direct_costs/sync",
    "PATCH */direct_costs/line_items/sync",
    "DELETE */direct_costs/*",
    "POST */requisitions",
    "PATCH */requisitions/*",
    "POST */contract_payments",
    "PATCH */contract_payments/*",
    "DELETE */contract_payments/*",
)
LOOKS = ("GET */direct_costs*", "GET */requisitions*", "GET */contract_payments*", "GET */vendors*")
READS = ("GET /v3/*/cdc", "GET /v3/*/query")
TOKENS = {"qbo": "POST /oauth2/v1/tokens/bearer", "procore": "POST /oauth/token"}
LATE = 1.2  # seconds: later than our read deadline, sooner than the settle time


@dataclass(frozen=True)
class Rule:
    """A rule for a sandbox. `routes`: one of them is drawn; `also` come with it as they stand."""

    row: str
    vendor: Vendor
    routes: tuple[str, ...]
    rule: Mapping[str, Any]
    also: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Spoilt:
    """A toxic on one of the three roads out of a run."""

    row: str
    road: Road
    toxic: Toxic


def _status(status: int, **args: Any) -> dict[str, Any]:
    return {"fault": "status", "args": {"status": status, **args}}


def _body(kind: str) -> dict[str, Any]:
    return {"fault": "body", "args": {"kind": kind}}


def _on_writes(row: str, rule: Mapping[str, Any]) -> Rule:
    return Rule(row, "procore", WRITES, rule)


def _often(row: str, chance: float, rule: Mapping[str, Any]) -> Rule:
    """On all creations, or all changes."""
    return Rule(row, "procore", WRITES[:2], {"probability": chance, **rule})


def _on_reads(row: str, rule: Mapping[str, Any]) -> Rule:
    return Rule(row, "qbo", READS, rule)


def _expired(vendor: Vendor, row: str, rule: Mapping[str, Any]) -> Rule:
    """The access token is refused once, and the renewal meets `rule`."""
    expired = {"route": {"qbo": "GET /v3/*", "procore": "* /rest/*"}[vendor], "nth": 1, **_status(401)}
    return Rule(row, vendor, (TOKENS[vendor],), rule, also=(expired,))


RULES: Mapping[str, Rule] = {
    "answer lost": _on_writes("F04", {"fault": "accept_then_drop"}),
    "one answer in three lost": _often("F04", 0.33, {"fault": "accept_then_drop"}),
    "one write in three worked after we hung up": _often(
        "F05", 0.33, {"fault": "work_after_disconnect", "args": {"seconds": LATE}}
    ),
    "half of all writes refused by 503": _often("F12", 0.5, _status(503)),
    "worked after we hung up": _on_writes(
        "F05", {"fault": "work_after_disconnect", "args": {"seconds": LATE}}
    ),
    "worked after we gave up": _on_writes(
        "F05", {"fault": "delay", "args": {"seconds": LATE, "when": "before"}}
    ),
    "money worked after we hung up": Rule(
        "F05",
        "procore",
        ("POST */contract_payments", "POST */requisitions"),
        {"every": 1, "fault": "work_after_disconnect", "args": {"seconds": LATE}},
    ),
    "answered after we gave up": _on_writes(
        "F05", {"fault": "delay", "args": {"seconds": LATE, "when": "after"}}
    ),
    "search lags": Rule("F06", "procore", LOOKS, {"fault": "search_lag", "args": {"seconds": 1}}),
    "search answers 404": Rule("F06", "procore", LOOKS, _status(404)),
    "write cut before it was taken": _on_writes("F07", {"fault": "drop"}),
    "write answered by half a body": _on_writes("F07", {"fault": "truncate", "args": {"bytes": 40}}),
    "write reset in mid-body": _on_writes("F07", {"fault": "reset", "args": {"when": "middle"}}),
    "read answered by half a body": _on_reads("F07", {"fault": "truncate", "args": {"bytes": 200}}),
    "read cut": _on_reads("F07", {"fault": "drop"}),
    "list answered by half a body": Rule(
        "F07", "procore", LOOKS, {"fault": "truncate", "args": {"bytes": 200}}
    ),
    "write dripped": _on_writes("F03", {"fault": "drip", "args": {"bytes_per_second": 60}}),
    "write answered by a page": _on_writes("F08", _body("html")),
    "write answered by nothing": _on_writes("F08", _body("empty")),
    "write answered by broken JSON": _on_writes("F08", _body("malformed")),
    "write answered with doubled keys": _on_writes("F08", _body("dupkeys")),
    "read answered by a page": _on_reads("F08", _body("html")),
    "read answered with NaN": _on_reads("F08", _body("nan")),
    "write redirected": _on_writes(
        "F09", {"fault": "redirect", "args": {"url": "http://127.0.0.1:9/", "processed": True}}
    ),
    "write throttled": _on_writes("F11", {"fault": "retry_after", "args": {"retry_after": 1}}),
    "read throttled": _on_reads("F11", {"fault": "retry_after", "args": {"retry_after": 1}}),
    "write refused by 503": _on_writes("F12", _status(503)),
    "write done and answered 500": _on_writes("F12", _status(500, processed=True)),
    "read answered 500": _on_reads("F12", _status(500)),
    "token expired in mid-run": Rule("F13", "procore", ("* /rest/*",), _status(401)),
    "row missing from a sync's answer": Rule(
        "F15",
        "procore",
        ("PATCH */direct_costs/sync",),
        {"fault": "item_fault", "args": {"index": 0, "lost": True}},
    ),
    "renewal answer lost": _expired("qbo", "F21", {"fault": "accept_then_drop"}),
    "renewal answered by half a body": _expired(
        "procore", "F21", {"fault": "truncate", "args": {"bytes": 30}}
    ),
    "renewal answered 500": _expired("qbo", "F24", _status(500)),
}
TOXICS: Mapping[str, Spoilt] = {
    "Procore refuses connections": Spoilt("F01", "procore", Toxic("down")),
    "QuickBooks refuses connections": Spoilt("F01", "qbo", Toxic("down")),
    "Procore takes and says nothing": Spoilt("F02", "procore", Toxic("timeout", seconds=LATE)),
    "QuickBooks takes and says nothing": Spoilt("F02", "qbo", Toxic("timeout", seconds=LATE)),
    "answers of Procore crawl": Spoilt("F03", "procore", Toxic("bandwidth", bytes_per_second=1500)),
    "answers of Procore are slow": Spoilt("F03", "procore", Toxic("latency", seconds=0.05)),
    "requests to Procore are sliced": Spoilt("F03", "procore", Toxic("slicer", "up", size=97)),
    "answers of Procore end early": Spoilt("F07", "procore", Toxic("limit_data", size=3000)),
    "answers of QuickBooks end early": Spoilt("F07", "qbo", Toxic("limit_data", size=2000)),
    "Procore resets": Spoilt("F07", "procore", Toxic("reset_peer")),
    "Procore closes late": Spoilt("F07", "procore", Toxic("slow_close", seconds=0.3)),
    "Postgres is slow": Spoilt("F41", "postgres", Toxic("latency", seconds=0.003)),
    "Postgres resets": Spoilt("F41", "postgres", Toxic("limit_data", size=60_000)),
}
POINTS = ("K3", "K4", "K5", "K7", "K8", "K14")
HOST: Mapping[str, str] = {  # what the crew does to a run, and its row
    **{f"killed at {point}": "F43" for point in POINTS},
    "killed at K10": "F22",
    "killed in a write": "F43",  # K6
    "killed in a renewal": "F43",  # K9
    "killed some time": "F43",
    "everything killed": "F43",
    "Postgres stopped": "F40",
    "Postgres stopped at once": "F40",
    "Postgres killed": "F40",
    "backends ended": "F41",
    "disk full": "F42",
    "two runs": "F44",
    "our clock ahead": "F46",
    "our clock behind": "F46",
    "clock of QuickBooks jumps": "F46",
    "clock of Procore jumps": "F46",
    "changes cut at five": "F48",
    "everything read before, again": "F53",
}
OPERATOR: Mapping[str, str] = {  # what the operator does before a run, and the row
    "decision killed half way": "F43",  # K11
    "mapping killed half way": "F50",  # K12
    "rotation killed half way": "F26",  # K12
}
LIKELY = (  # what the money is most in danger from is drawn as often as all the rest
    "answer lost",
    "one answer in three lost",
    "one write in three worked after we hung up",
    "worked after we gave up",
    "money worked after we hung up",
    "write done and answered 500",
    "killed at K5",
    "killed at K7",
    "killed at K14",
    "killed in a write",
    "killed some time",
    "two runs",
)
ROWS: Mapping[str, str] = {
    **{name: rule.row for name, rule in RULES.items()},
    **{name: spoilt.row for name, spoilt in TOXICS.items()},
    **HOST,
    **OPERATOR,
}
