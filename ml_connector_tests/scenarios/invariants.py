"""What must hold after every scenario: no money lost, nothing twice, nothing in two states, a trail without gaps.

The sums are judged by `ml_connector_tests.oracle` from the sandboxes; here is told what the product says of itself.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import text

from ml_connector.orchestration.clients import vault_of
from ml_connector.settings import Connection, load_connections
from ml_connector.store.vault import System
from ml_connector_tests.evidence import Evidence, gather
from ml_connector_tests.oracle import Judge, Report, Stated, Statement
from ml_connector_tests.rig import Rig, call

STATES = {"posted", "updated", "no-op", "held", "excluded", "reversed", "retrying"}
OUTCOMES = {
    "posted",
    "changed",
    "found",
    "linked",
    "reversed",
    "refused",
}  # a call after one of them needs a new `sent`
SYSTEMS: tuple[System, ...] = ("qbo", "procore")
CANARIES = (
    "sandbox-secret",
    "person-secret",
    "RT1-",
    "000123456789",
    "DE89 3704",
)  # secrets that tests put in


def invariants(rig: Rig) -> None:
    """Assert I1 to I3 and I5 to I8 of the scenario bank for every connection of the rig."""
    realms = {}
    for connection in load_connections(rig.home):
        realms[connection.procore.company_id] = connection.qbo.realm_id
        evidence = gather(rig.qbo.url, rig.procore.url, realm=connection.qbo.realm_id)
        report = oracle(rig, connection=connection, evidence=evidence)
        assert not report.findings, str(report)
        states_add_up(rig, connection)
        trail_is_whole(rig, connection, evidence)
    for live in evidence.live:
        realm = live.reference.split(":")[1] if live.reference else realms.get(live.company)
        assert realm == realms.get(live.company), f"{live.name} of company {live.company} is of realm {realm}"
    nothing_secret_is_told(rig)


def oracle(
    rig: Rig,
    *,
    connection: Connection | None = None,
    evidence: Evidence | None = None,
    everything_read: bool = False,
    **wanted: Any,
) -> Report:
    """The oracle's report on one connection, told what the product says; `everything_read`: unread versions are lost."""
    one = connection or rig.connection
    evidence = evidence or gather(rig.qbo.url, rig.procore.url, realm=one.qbo.realm_id)
    statement = statement_of(rig, one, complete=not everything_read)
    return Judge(evidence, statement, one.qbo.realm_id).judge(**wanted)


def statement_of(rig: Rig, connection: Connection, *, complete: bool) -> Statement:
    """What the product says of its records: held, excluded, of which version, and what it linked in its own books."""
    with rig.engine.connect() as db:
        rows = db.execute(
            text(
                "select r.entity, r.qbo_id, r.held, r.excluded, l.sync_token, l.tombstone from ml_connector.record r"
                " join ml_connector.landing l on l.number = r.landing_number"
                " where r.connection = :name and r.entity <> 'Vendor'"
            ),
            {"name": connection.name},
        ).all()
        linked = db.execute(
            text(
                "select kind, procore_id, origin_id from ml_connector.ledger where connection = :name"
                " and kind in ('direct_cost', 'requisition', 'contract_payment')"
                " and state <> 'removed' and procore_id is not null"
            ),
            {"name": connection.name},
        ).all()
    return Statement(
        records={
            f"{row.entity.lower()}:{row.qbo_id}": Stated(
                held=row.held,
                excluded=row.excluded,
                version="deleted" if row.tombstone else str(row.sync_token),
            )
            for row in rows
        },
        links={f"{row.kind}:{row.procore_id}": row.origin_id for row in linked},
        complete=complete,
        expenses=connection.policies.expenses != "off",
    )


def states_add_up(rig: Rig, connection: Connection) -> None:
    """I1 and I5: every record is in one state, and what is posted, excluded and held makes its total."""
    with rig.engine.connect() as db:
        rows = db.execute(
            text("select * from ml_connector.record where connection = :name"), {"name": connection.name}
        ).all()
        reasoned = {tuple(row) for row in db.execute(text("select entity, qbo_id from ml_connector.hold"))}
    kept_back = (
        connection.policies.retainage == "paid_short"
    )  # what a gross bill retains counts as held, without a hold
    for row in rows:
        assert row.state in STATES, f"{row.entity} {row.qbo_id} is {row.state}"
        sums = f"{row.entity} {row.qbo_id}: {row.posted} + {row.excluded} + {row.held} against {row.total}"
        assert row.posted + row.excluded + row.held == row.total, sums
        explained = row.state in ("held", "retrying") or (row.entity, row.qbo_id) in reasoned or kept_back
        assert not row.held or explained, (
            f"{row.entity} {row.qbo_id} is {row.state}, and {row.held} waits for nothing"
        )


def trail_is_whole(rig: Rig, connection: Connection, evidence: Evidence) -> None:
    """I6: numbers without gaps, and a `sent` before every write to Procore of which one can see the record."""
    with rig.engine.connect() as db:
        entries = db.execute(
            text(
                "select number, at, event, detail from ml_connector.audit where connection = :name order by number"
            ),
            {"name": connection.name},
        ).all()
    assert [entry.number for entry in entries] == list(range(1, len(entries) + 1))
    if call("GET", f"{rig.procore.url}/_control/clock").get("offset_seconds"):
        return  # the sandbox lives in another time: its instants say nothing about ours
    stories = defaultdict(list)
    for entry in entries:
        if entry.event in OUTCOMES or entry.event == "sent":
            named = str(json.loads(bytes(entry.detail)).get("origin_id"))
            stories[named.removesuffix(":payment_date")].append((entry.at, entry.event))
    for write in evidence.writes:
        for target in {_target(reference) for reference in write.references}:
            before = [event for at, event in stories[target] if at <= datetime.fromisoformat(write.at)]
            ours = target.startswith(f"qbo:{connection.qbo.realm_id}:")
            assert not ours or before[-1:] == ["sent"], f"{write.words} for {target} after {before}"


def _target(reference: str) -> str:
    """The record that a link means: the link of a direct cost's line ends with its ordinal."""
    parts = reference.split(":")
    is_line = len(parts) == 6 and parts[2] != "billpayment" and parts[5].isdigit()
    return ":".join(parts[:5]) if is_line else reference


def links_stand(rig: Rig) -> None:
    """Direct costs and invoices of ours carry their links, however often they were taken off for a change.

    Those whose link is to be in the ledger alone carry none.
    """
    with rig.engine.connect() as db:
        rows = db.execute(
            text(
                "select kind, procore_id, origin_id, coalesce((wanted ->> 'unlinked')::boolean, false) as bare"
                " from ml_connector.ledger where state = 'confirmed'"
                " and kind in ('direct_cost', 'requisition') and not coalesce((wanted ->> 'linked')::boolean, false)"
            )
        ).all()
    there = {
        (kind, record["id"]): record.get("origin_id") or ""
        for kind in ("direct_cost", "requisition")
        for record in rig.procore.live(f"{kind}s")
    }
    wanted = ["" if row.bare else row.origin_id for row in rows]
    assert [there.get((row.kind, row.procore_id)) for row in rows] == wanted


def nothing_secret_is_told(rig: Rig) -> None:
    """I7: no token, secret or bank account in the trail, the holds or the bodies that the ledger keeps."""
    secrets = [*CANARIES, *_tokens(rig)]
    with rig.engine.connect() as db:
        told = [
            *(bytes(detail).decode() for detail in db.scalars(text("select detail from ml_connector.audit"))),
            *db.scalars(text("select sentence from ml_connector.hold")),
            *(json.dumps(wanted) for wanted in db.scalars(text("select wanted from ml_connector.ledger"))),
        ]
    for words in told:
        found = [secret for secret in secrets if secret in words]
        assert not found, f"a secret is told: {words[:200]}"


def _tokens(rig: Rig) -> Iterator[str]:
    vault = vault_of(rig.home, rig.engine)
    for connection in load_connections(rig.home):
        for system in SYSTEMS:
            held, _ = vault.get(connection.name, system)
            for token in (held.access_token, held.refresh_token):
                if token:
                    yield token
