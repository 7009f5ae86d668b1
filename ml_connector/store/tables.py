"""The tables of ml-connector, schema `ml_connector`: SQLAlchemy Core descriptions that queries are built from.

Migrations in `migrations/` make them; a test compares the two. Every row of business data carries its connection.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

SCHEMA = "ml_connector"
metadata = MetaData(schema=SCHEMA)
Instant = DateTime(timezone=True)
Money = Numeric(18, 2)

reading_cursor = Table(
    "reading_cursor",
    metadata,
    Column("connection", Text, primary_key=True),
    Column("read_to", Instant),  # server time up to which everything was read; null before the first load
    Column("went_live", Instant),  # server time at which the first load began
    Column("updated_at", Instant, nullable=False),
)

landing = Table(
    "landing",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=True),
    Column("connection", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("qbo_id", Text, nullable=False),
    Column("sync_token", BigInteger, nullable=False),
    Column("content_hash", LargeBinary, nullable=False),
    Column("tombstone", Boolean, nullable=False),
    Column("is_current", Boolean, nullable=False),
    Column("day", Date, nullable=False),  # window of the version's LastUpdatedTime in the company's zone
    Column("server_time", Instant, nullable=False),  # of the answer that brought it
    Column("txn_date", Date),
    Column("vendor_id", Text),
    Column("document", Text),
    Column("total", Money),
    Column("body", LargeBinary, nullable=False),  # raw JSON: jsonb refuses NUL and lone surrogates
    Column("run_id", Text, nullable=False),
    Column("landed_at", Instant, nullable=False, server_default=text("now()")),
)
Index(
    "landing_current",
    landing.c.connection,
    landing.c.entity,
    landing.c.qbo_id,
    unique=True,
    postgresql_where=landing.c.is_current,
)
Index("landing_record", landing.c.connection, landing.c.entity, landing.c.qbo_id, landing.c.number)
Index(
    "landing_day",
    landing.c.connection,
    landing.c.day,
    landing.c.entity,
    postgresql_where=landing.c.is_current,
)
Index(
    "landing_document",
    landing.c.connection,
    landing.c.vendor_id,
    landing.c.document,
    postgresql_where=landing.c.is_current,
)

dirty_window = Table(
    "dirty_window",
    metadata,
    Column("connection", Text, nullable=False),
    Column("day", Date, nullable=False),
    Column(
        "mark", BigInteger, nullable=False
    ),  # rises with every marking; posting clears up to the one it saw
    Column("not_before", Instant),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("reason", Text, nullable=False),
    PrimaryKeyConstraint("connection", "day"),
)

sheet_version = Table(
    "sheet_version",
    metadata,
    Column("connection", Text, nullable=False),
    Column("sheet", Text, nullable=False),  # "mapping" | "projects" | "vendors"
    Column("version", Integer, nullable=False),
    Column("content_hash", LargeBinary, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("published_by", Text, nullable=False),
    Column("published_at", Instant, nullable=False, server_default=text("now()")),
    PrimaryKeyConstraint("connection", "sheet", "version"),
)

catalog = Table(
    "catalog",
    metadata,
    Column("connection", Text, nullable=False),
    Column("kind", Text, nullable=False),  # "projects" | "budget_codes" | "commitments"
    Column("project_id", Text, nullable=False),  # "" for lists of the company
    Column("rows", JSONB, nullable=False),
    Column("fetched_at", Instant, nullable=False),
    PrimaryKeyConstraint("connection", "kind", "project_id"),
)

record = Table(
    "record",
    metadata,
    Column("connection", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("qbo_id", Text, nullable=False),
    Column("landing_number", BigInteger, nullable=False),  # the version that the state speaks of
    Column("day", Date, nullable=False),
    Column("state", Text, nullable=False),
    Column("document", Text, nullable=False, server_default=""),
    Column("vendor_name", Text, nullable=False, server_default=""),
    Column("txn_date", Date),
    Column("total", Money, nullable=False),
    Column("posted", Money, nullable=False),
    Column("excluded", Money, nullable=False),
    Column("held", Money, nullable=False),
    Column("mapping_version", Integer),
    Column("projects_version", Integer),
    Column(
        "settled", Boolean, nullable=False, server_default=text("false")
    ),  # what is posted equals what is planned
    Column("closed_to", Date),  # the close of the books in force when the version was first seen
    Column("since", Instant, nullable=False, server_default=text("now()")),
    Column("run_id", Text, nullable=False),
    PrimaryKeyConstraint("connection", "entity", "qbo_id"),
)
Index("record_day", record.c.connection, record.c.day)
Index("record_state", record.c.connection, record.c.state)

hold = Table(
    "hold",
    metadata,
    Column("connection", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("qbo_id", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("sentence", Text, nullable=False),
    Column("amount", Money, nullable=False),
    Column("line", Integer),
    Column("about", Text, nullable=False, server_default=""),  # what a decision on it would hold for
    Column("since", Instant, nullable=False, server_default=text("now()")),
    PrimaryKeyConstraint("connection", "entity", "qbo_id", "ordinal"),
    ForeignKeyConstraint(
        ["connection", "entity", "qbo_id"],
        ["ml_connector.record.connection", "ml_connector.record.entity", "ml_connector.record.qbo_id"],
        ondelete="CASCADE",
    ),
)
Index("hold_cause", hold.c.connection, hold.c.reason, hold.c.cause)

decision = Table(  # append-only: a person's word stands, and a new version of the record asks for a new one
    "decision",
    metadata,
    Column("connection", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("qbo_id", Text, nullable=False),
    Column("landing_number", BigInteger, nullable=False),  # the version that was decided
    Column("reason", Text, nullable=False),  # of the hold that was decided
    Column("about", Text, nullable=False),  # likewise
    Column("choice", Text, nullable=False),
    Column("comment", Text, nullable=False),
    Column("decided_by", Text, nullable=False),
    Column("decided_at", Instant, nullable=False),
    PrimaryKeyConstraint("connection", "entity", "qbo_id", "landing_number", "reason", "about"),
)

mapped_line = Table(
    "mapped_line",
    metadata,
    Column("connection", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("qbo_id", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("line", Integer, nullable=False),
    Column("outcome", Text, nullable=False),  # posted | excluded | held
    Column(
        "route", Text, nullable=False, server_default=""
    ),  # of a posted line: direct_cost | commitment | retainage
    Column("commitment", Text, nullable=False, server_default=""),  # as the rule names it
    Column("amount", Money, nullable=False),
    Column("project_id", Text, nullable=False, server_default=""),
    Column("wbs_code_id", BigInteger),
    Column("cost_code", Text, nullable=False, server_default=""),
    Column("cost_type", Text, nullable=False, server_default=""),
    Column("description", Text, nullable=False, server_default=""),
    Column("quantity", Numeric),
    Column("unit_price", Numeric),
    Column("reason", Text, nullable=False, server_default=""),
    Column("account", Text, nullable=False, server_default=""),
    Column("rule", Text, nullable=False, server_default=""),
    PrimaryKeyConstraint("connection", "entity", "qbo_id", "ordinal"),
    ForeignKeyConstraint(
        ["connection", "entity", "qbo_id"],
        ["ml_connector.record.connection", "ml_connector.record.entity", "ml_connector.record.qbo_id"],
        ondelete="CASCADE",
    ),
)

ledger = Table(
    "ledger",
    metadata,
    Column("connection", Text, nullable=False),
    Column("origin_id", Text, nullable=False),
    Column("kind", Text, nullable=False),  # of `ledger.Kind`
    Column("entity", Text, nullable=False),
    Column("qbo_id", Text, nullable=False),
    Column("project_id", Text, nullable=False, server_default=""),
    Column("commitment_id", BigInteger),  # of requisitions and contract payments
    Column("procore_id", BigInteger),
    Column("state", Text, nullable=False),  # posting.ledger states
    Column("landing_number", BigInteger, nullable=False),  # source version of the last intent
    Column("sync_token", BigInteger, nullable=False),
    Column("wanted", JSONB),  # body of the last intent, money as text
    Column("wanted_hash", LargeBinary),
    Column("confirmed_hash", LargeBinary),
    Column("refused_hash", LargeBinary),
    Column("refusal", Text, nullable=False, server_default=""),
    Column("refusal_reason", Text, nullable=False, server_default=""),  # of `holds.Reason`
    Column("amount", Money, nullable=False, server_default=text("0")),  # confirmed live amount in Procore
    # Line origin id -> Procore id, null for a line that was sent and may be there.
    Column("line_ids", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("number", Text, nullable=False, server_default=""),
    Column(
        "suffix", Text, nullable=False, server_default=""
    ),  # end of the number that keeps it unique, for good
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("sent_at", Instant),
    Column("not_before", Instant),
    Column("run_id", Text, nullable=False, server_default=""),
    PrimaryKeyConstraint("connection", "origin_id"),
)
Index("ledger_source", ledger.c.connection, ledger.c.entity, ledger.c.qbo_id)
Index(
    "ledger_open",
    ledger.c.connection,
    ledger.c.state,
    postgresql_where=text("state in ('sending', 'unknown')"),
)

vendor_alias = Table(  # vendors that QBO merged into others
    "vendor_alias",
    metadata,
    Column("connection", Text, nullable=False),
    Column("loser", Text, nullable=False),  # QBO ids
    Column("winner", Text, nullable=False),
    Column("since", Instant, nullable=False, server_default=text("now()")),
    PrimaryKeyConstraint("connection", "loser"),
)

moved_record = Table(  # records that a merge of vendors moved: what was posted keeps its vendor in Procore
    "moved_record",
    metadata,
    Column("connection", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("qbo_id", Text, nullable=False),
    Column("vendor", Text, nullable=False),  # QBO id of the one that it named before
    Column("name", Text, nullable=False),
    PrimaryKeyConstraint("connection", "entity", "qbo_id"),
)

payment_share = Table(
    "payment_share",
    metadata,
    Column("connection", Text, nullable=False),
    Column("payment_id", Text, nullable=False),
    Column("bill_id", Text, nullable=False),  # "" for cash that no bill has taken yet
    Column("kind", Text, nullable=False),  # of `payments.ShareKind`
    Column("target_id", Text, nullable=False),  # commitment, project, or reason of an exclusion
    Column("cash", Money, nullable=False),
    Column("credit", Money, nullable=False),  # settled by vendor credits that the payment uses
    PrimaryKeyConstraint("connection", "payment_id", "bill_id", "kind", "target_id"),
)
Index("payment_share_bill", payment_share.c.connection, payment_share.c.bill_id)

audit = Table(
    "audit",
    metadata,
    Column("connection", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("at", Instant, nullable=False),
    Column("event", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("qbo_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("detail", LargeBinary, nullable=False),  # canonical JSON
    Column("previous_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("connection", "number"),
)
Index("audit_record", audit.c.connection, audit.c.entity, audit.c.qbo_id, audit.c.number)

audit_head = Table(
    "audit_head",
    metadata,
    Column("connection", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)

vault = Table(
    "vault",
    metadata,
    Column("connection", Text, nullable=False),
    Column("system", Text, nullable=False),  # "qbo" | "procore"
    Column("key_id", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),  # nonce + AES-256-GCM ciphertext of the credential set
    Column("state", Text, nullable=False),  # "connected" | "reconnect_needed"
    Column("ends_at", Instant),  # when the vendor ends the grant, whatever is done; null where it does not
    Column("warned_days", Integer),  # the last warning that was given: 14, 7 or 1 days before
    Column("updated_at", Instant, nullable=False),
    PrimaryKeyConstraint("connection", "system"),
)

limiter = Table(
    "limiter",
    metadata,
    Column("account", Text, nullable=False),  # "qbo:<realm>" | "procore:<company>"
    Column("name", Text, nullable=False),  # which of the account's limits
    Column("next_free", Instant, nullable=False),  # theoretical arrival time of GCRA
    Column("paused_until", Instant),
    PrimaryKeyConstraint("account", "name"),
)

breaker = Table(
    "breaker",
    metadata,
    Column("connection", Text, nullable=False),
    Column("system", Text, nullable=False),  # "qbo" | "procore"
    Column("attempts", Integer, nullable=False),  # in a row that found nobody
    Column("calls", Integer, nullable=False),  # to which those attempts belong
    Column("since", Instant, nullable=False),
    Column("open_until", Instant),  # nothing is sent before; null while calls go on
    Column("reason", Text, nullable=False),  # what the newest attempt saw
    PrimaryKeyConstraint("connection", "system"),
)

alarm = Table(  # one row for a trouble that stands, or whose end is still to be told
    "alarm",
    metadata,
    Column("connection", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("sentence", Text, nullable=False),
    Column("since", Instant, nullable=False),
    Column("told_at", Instant),  # null: nobody could be told yet
    Column("over_at", Instant),
    PrimaryKeyConstraint("connection", "cause"),
)

turn = Table(  # whose word counts: the run that took the claim on a connection's posting last
    "turn",
    metadata,
    Column("connection", Text, primary_key=True),
    Column("run_id", Text, nullable=False),
)

worker = Table(
    "worker",
    metadata,
    Column("run_id", Text, primary_key=True),
    Column("pid", Integer, nullable=False),
    Column(
        "started", Text, nullable=False
    ),  # start time of the process in kernel ticks: a pid alone can come again
    Column("host", Text, nullable=False),
    Column("connection", Text, nullable=False),
    Column("days", JSONB, nullable=False),
    Column("at", Instant, nullable=False, server_default=text("now()")),
)
