-- The role that ml-connector works with in production: it may add to the audit trail and read it, never change it.
-- Run it as the owner of the database after the first `ml-connector init` as that owner, and again after each upgrade:
--     psql "$OWNER_URL" -v ON_ERROR_STOP=1 -f application-role.sql
-- then give the role a password (`\password ml_connector_app`) and let ML_CONNECTOR_DATABASE_URL name it.

DO $$
BEGIN
    CREATE ROLE ml_connector_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;  -- it is there
END
$$;

GRANT USAGE ON SCHEMA ml_connector TO ml_connector_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ml_connector TO ml_connector_app;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA ml_connector TO ml_connector_app;

-- What is only added to. The triggers refuse changes to everybody, the owner too; a role that is not the owner cannot
-- switch them off.
REVOKE UPDATE, DELETE, TRUNCATE ON
    ml_connector.audit, ml_connector.sheet_version, ml_connector.decision FROM ml_connector_app;
REVOKE DELETE, TRUNCATE ON ml_connector.audit_head FROM ml_connector_app;

-- The version of the tables is the owner's: upgrades are run as the owner.
REVOKE INSERT, UPDATE, DELETE ON ml_connector.schema_version FROM ml_connector_app;

-- Dagster makes and keeps its own tables in the schema public.
GRANT USAGE, CREATE ON SCHEMA public TO ml_connector_app;
