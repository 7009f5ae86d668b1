"""One database for many tests of a worker: emptied between them, with its connections and compiled statements kept warm.

Nobody may change the schema in it: such a test takes a database of its own.
"""

from typing import Any

import psycopg
from sqlalchemy import Engine, event

from ml_connector.store.database import open_engine

_EMPTY = """
do $$
declare
    name regclass;
    is_filled boolean;
    filled text[] := '{}';
begin
    for name in select oid from pg_class where relkind = 'r' and relnamespace = 'ml_connector'::regnamespace
        and relname <> 'schema_version'
    loop
        execute format('select exists (select from %s)', name) into is_filled;
        if is_filled then
            filled := filled || name::text;
        end if;
    end loop;
    if filled <> '{}' then
        execute 'truncate ' || array_to_string(filled, ', ') || ' cascade';
    end if;
    perform setval(oid::regclass, 1, false) from pg_class
        where relkind = 'S' and relnamespace = 'ml_connector'::regnamespace;
end $$
"""
_END_THE_OTHERS = """
select pg_terminate_backend(pid, 5000) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and pid <> all(%s)
"""
_AS_REPLICA = "-c session_replication_role=replica"  # the audit trail refuses to be emptied by anybody else
_HAS_CLAIMS = "select exists (select from pg_locks where locktype = 'advisory' and pid = any(%s))"


class WarmDatabase:
    """A migrated database and one engine on it, for one test after the other."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine: Engine = open_engine(url)
        self._backends: set[int] = set()
        event.listen(self.engine, "connect", self._remember)

    def _remember(self, connection: Any, _record: object) -> None:
        self._backends.add(connection.info.backend_pid)

    def empty(self) -> None:
        """As it was at first, whatever the last test and its processes left behind."""
        with psycopg.connect(
            self.url.replace("+psycopg", ""), autocommit=True, options=_AS_REPLICA
        ) as cleaner:
            ours = list(self._backends)
            held = cleaner.execute(_HAS_CLAIMS, [ours]).fetchone() == (True,)
            if held or self.engine.pool.checkedout():  # type: ignore[attr-defined]  # of its QueuePool
                self.close()
            cleaner.execute(_END_THE_OTHERS, [list(self._backends)])
            cleaner.execute(_EMPTY)

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()
        self._backends.clear()
