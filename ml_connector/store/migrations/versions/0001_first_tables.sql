CREATE SEQUENCE ml_connector.dirty_mark;

CREATE TABLE ml_connector.alarm (
    connection TEXT NOT NULL,
    cause TEXT NOT NULL,
    sentence TEXT NOT NULL,
    since TIMESTAMP WITH TIME ZONE NOT NULL,
    told_at TIMESTAMP WITH TIME ZONE,
    over_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (connection, cause)
);

CREATE TABLE ml_connector.audit (
    connection TEXT NOT NULL,
    number BIGINT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    event TEXT NOT NULL,
    entity TEXT NOT NULL,
    qbo_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    actor TEXT NOT NULL,
    detail BYTEA NOT NULL,
    previous_hash BYTEA NOT NULL,
    hash BYTEA NOT NULL,
    PRIMARY KEY (connection, number)
);

CREATE INDEX audit_record ON ml_connector.audit (connection, entity, qbo_id, number);

CREATE TABLE ml_connector.audit_head (
    connection TEXT NOT NULL,
    number BIGINT NOT NULL,
    hash BYTEA NOT NULL,
    PRIMARY KEY (connection)
);

CREATE TABLE ml_connector.breaker (
    connection TEXT NOT NULL,
    system TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    since TIMESTAMP WITH TIME ZONE NOT NULL,
    open_until TIMESTAMP WITH TIME ZONE,
    reason TEXT NOT NULL,
    PRIMARY KEY (connection, system)
);

CREATE TABLE ml_connector.catalog (
    connection TEXT NOT NULL,
    kind TEXT NOT NULL,
    project_id TEXT NOT NULL,
    rows JSONB NOT NULL,
    fetched_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (connection, kind, project_id)
);

CREATE TABLE ml_connector.decision (
    connection TEXT NOT NULL,
    entity TEXT NOT NULL,
    qbo_id TEXT NOT NULL,
    landing_number BIGINT NOT NULL,
    reason TEXT NOT NULL,
    about TEXT NOT NULL,
    choice TEXT NOT NULL,
    comment TEXT NOT NULL,
    decided_by TEXT NOT NULL,
    decided_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (connection, entity, qbo_id, landing_number, reason, about)
);

CREATE TABLE ml_connector.dirty_window (
    connection TEXT NOT NULL,
    day DATE NOT NULL,
    mark BIGINT NOT NULL,
    not_before TIMESTAMP WITH TIME ZONE,
    attempts INTEGER DEFAULT 0 NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (connection, day)
);

CREATE TABLE ml_connector.landing (
    number BIGSERIAL NOT NULL,
    connection TEXT NOT NULL,
    entity TEXT NOT NULL,
    qbo_id TEXT NOT NULL,
    sync_token BIGINT NOT NULL,
    content_hash BYTEA NOT NULL,
    tombstone BOOLEAN NOT NULL,
    is_current BOOLEAN NOT NULL,
    day DATE NOT NULL,
    server_time TIMESTAMP WITH TIME ZONE NOT NULL,
    txn_date DATE,
    vendor_id TEXT,
    document TEXT,
    total NUMERIC(18, 2),
    body BYTEA NOT NULL,
    run_id TEXT NOT NULL,
    landed_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (number)
);

CREATE UNIQUE INDEX landing_current ON ml_connector.landing (connection, entity, qbo_id) WHERE is_current;

CREATE INDEX landing_day ON ml_connector.landing (connection, day, entity) WHERE is_current;

CREATE INDEX landing_document ON ml_connector.landing (connection, vendor_id, document) WHERE is_current;

CREATE INDEX landing_record ON ml_connector.landing (connection, entity, qbo_id, number);

CREATE TABLE ml_connector.ledger (
    connection TEXT NOT NULL,
    origin_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    entity TEXT NOT NULL,
    qbo_id TEXT NOT NULL,
    project_id TEXT DEFAULT '' NOT NULL,
    commitment_id BIGINT,
    procore_id BIGINT,
    state TEXT NOT NULL,
    landing_number BIGINT NOT NULL,
    sync_token BIGINT NOT NULL,
    wanted JSONB,
    wanted_hash BYTEA,
    confirmed_hash BYTEA,
    refused_hash BYTEA,
    refusal TEXT DEFAULT '' NOT NULL,
    refusal_reason TEXT DEFAULT '' NOT NULL,
    amount NUMERIC(18, 2) DEFAULT 0 NOT NULL,
    line_ids JSONB DEFAULT '{}'::jsonb NOT NULL,
    number TEXT DEFAULT '' NOT NULL,
    suffix TEXT DEFAULT '' NOT NULL,
    attempts INTEGER DEFAULT 0 NOT NULL,
    sent_at TIMESTAMP WITH TIME ZONE,
    not_before TIMESTAMP WITH TIME ZONE,
    run_id TEXT DEFAULT '' NOT NULL,
    PRIMARY KEY (connection, origin_id)
);

CREATE INDEX ledger_open ON ml_connector.ledger (connection, state) WHERE state in ('sending', 'unknown');

CREATE INDEX ledger_source ON ml_connector.ledger (connection, entity, qbo_id);

CREATE TABLE ml_connector.limiter (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    next_free TIMESTAMP WITH TIME ZONE NOT NULL,
    paused_until TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (account, name)
);

CREATE TABLE ml_connector.moved_record (
    connection TEXT NOT NULL,
    entity TEXT NOT NULL,
    qbo_id TEXT NOT NULL,
    vendor TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (connection, entity, qbo_id)
);

CREATE TABLE ml_connector.payment_share (
    connection TEXT NOT NULL,
    payment_id TEXT NOT NULL,
    bill_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    target_id TEXT NOT NULL,
    cash NUMERIC(18, 2) NOT NULL,
    credit NUMERIC(18, 2) NOT NULL,
    PRIMARY KEY (connection, payment_id, bill_id, kind, target_id)
);

CREATE INDEX payment_share_bill ON ml_connector.payment_share (connection, bill_id);

CREATE TABLE ml_connector.reading_cursor (
    connection TEXT NOT NULL,
    read_to TIMESTAMP WITH TIME ZONE,
    went_live TIMESTAMP WITH TIME ZONE,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (connection)
);

CREATE TABLE ml_connector.record (
    connection TEXT NOT NULL,
    entity TEXT NOT NULL,
    qbo_id TEXT NOT NULL,
    landing_number BIGINT NOT NULL,
    day DATE NOT NULL,
    state TEXT NOT NULL,
    document TEXT DEFAULT '' NOT NULL,
    vendor_name TEXT DEFAULT '' NOT NULL,
    txn_date DATE,
    total NUMERIC(18, 2) NOT NULL,
    posted NUMERIC(18, 2) NOT NULL,
    excluded NUMERIC(18, 2) NOT NULL,
    held NUMERIC(18, 2) NOT NULL,
    mapping_version INTEGER,
    projects_version INTEGER,
    settled BOOLEAN DEFAULT false NOT NULL,
    closed_to DATE,
    since TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    run_id TEXT NOT NULL,
    PRIMARY KEY (connection, entity, qbo_id)
);

CREATE INDEX record_day ON ml_connector.record (connection, day);

CREATE INDEX record_state ON ml_connector.record (connection, state);

CREATE TABLE ml_connector.sheet_version (
    connection TEXT NOT NULL,
    sheet TEXT NOT NULL,
    version INTEGER NOT NULL,
    content_hash BYTEA NOT NULL,
    content BYTEA NOT NULL,
    published_by TEXT NOT NULL,
    published_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (connection, sheet, version)
);

CREATE TABLE ml_connector.turn (
    connection TEXT NOT NULL,
    run_id TEXT NOT NULL,
    PRIMARY KEY (connection)
);

CREATE TABLE ml_connector.vault (
    connection TEXT NOT NULL,
    system TEXT NOT NULL,
    key_id TEXT NOT NULL,
    sealed BYTEA NOT NULL,
    state TEXT NOT NULL,
    ends_at TIMESTAMP WITH TIME ZONE,
    warned_days INTEGER,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (connection, system)
);

CREATE TABLE ml_connector.vendor_alias (
    connection TEXT NOT NULL,
    loser TEXT NOT NULL,
    winner TEXT NOT NULL,
    since TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (connection, loser)
);

CREATE TABLE ml_connector.worker (
    run_id TEXT NOT NULL,
    pid INTEGER NOT NULL,
    started TEXT NOT NULL,
    host TEXT NOT NULL,
    connection TEXT NOT NULL,
    days JSONB NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (run_id)
);

CREATE TABLE ml_connector.hold (
    connection TEXT NOT NULL,
    entity TEXT NOT NULL,
    qbo_id TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    reason TEXT NOT NULL,
    cause TEXT NOT NULL,
    sentence TEXT NOT NULL,
    amount NUMERIC(18, 2) NOT NULL,
    line INTEGER,
    about TEXT DEFAULT '' NOT NULL,
    since TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    PRIMARY KEY (connection, entity, qbo_id, ordinal),
    FOREIGN KEY(connection, entity, qbo_id) REFERENCES ml_connector.record (connection, entity, qbo_id) ON DELETE CASCADE
);

CREATE INDEX hold_cause ON ml_connector.hold (connection, reason, cause);

CREATE TABLE ml_connector.mapped_line (
    connection TEXT NOT NULL,
    entity TEXT NOT NULL,
    qbo_id TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    line INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    route TEXT DEFAULT '' NOT NULL,
    commitment TEXT DEFAULT '' NOT NULL,
    amount NUMERIC(18, 2) NOT NULL,
    project_id TEXT DEFAULT '' NOT NULL,
    wbs_code_id BIGINT,
    cost_code TEXT DEFAULT '' NOT NULL,
    cost_type TEXT DEFAULT '' NOT NULL,
    description TEXT DEFAULT '' NOT NULL,
    quantity NUMERIC,
    unit_price NUMERIC,
    reason TEXT DEFAULT '' NOT NULL,
    account TEXT DEFAULT '' NOT NULL,
    rule TEXT DEFAULT '' NOT NULL,
    PRIMARY KEY (connection, entity, qbo_id, ordinal),
    FOREIGN KEY(connection, entity, qbo_id) REFERENCES ml_connector.record (connection, entity, qbo_id) ON DELETE CASCADE
);

CREATE FUNCTION ml_connector.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are never changed or removed', TG_TABLE_NAME;
END
$$;

CREATE FUNCTION ml_connector.refuse_going_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.number < OLD.number OR NEW.connection <> OLD.connection THEN
        RAISE EXCEPTION 'the head of an audit trail never goes back';
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER audit_head_goes_forward BEFORE UPDATE ON ml_connector.audit_head
    FOR EACH ROW EXECUTE FUNCTION ml_connector.refuse_going_back();

CREATE TRIGGER audit_head_stays BEFORE DELETE ON ml_connector.audit_head
    FOR EACH ROW EXECUTE FUNCTION ml_connector.refuse_change();

CREATE TRIGGER audit_head_is_never_emptied BEFORE TRUNCATE ON ml_connector.audit_head
    FOR EACH STATEMENT EXECUTE FUNCTION ml_connector.refuse_change();

CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE ON ml_connector.audit
    FOR EACH ROW EXECUTE FUNCTION ml_connector.refuse_change();

CREATE TRIGGER audit_is_never_emptied BEFORE TRUNCATE ON ml_connector.audit
    FOR EACH STATEMENT EXECUTE FUNCTION ml_connector.refuse_change();

CREATE TRIGGER sheet_version_is_append_only BEFORE UPDATE OR DELETE ON ml_connector.sheet_version
    FOR EACH ROW EXECUTE FUNCTION ml_connector.refuse_change();

CREATE TRIGGER sheet_version_is_never_emptied BEFORE TRUNCATE ON ml_connector.sheet_version
    FOR EACH STATEMENT EXECUTE FUNCTION ml_connector.refuse_change();

CREATE TRIGGER decision_is_append_only BEFORE UPDATE OR DELETE ON ml_connector.decision
    FOR EACH ROW EXECUTE FUNCTION ml_connector.refuse_change();

CREATE TRIGGER decision_is_never_emptied BEFORE TRUNCATE ON ml_connector.decision
    FOR EACH STATEMENT EXECUTE FUNCTION ml_connector.refuse_change();

