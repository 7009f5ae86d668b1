"""StoredTokens: access tokens out of the vault, renewed by one process at a time for all.

The order keeps a rotating grant alive: lock the row, look again, renew, commit, and only then use. How a
vendor renews is handed in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import sleep

from sqlalchemy.exc import OperationalError

from ml_connector.errors import ReconnectNeeded, TransientError
from ml_connector.store.vault import Credentials, State, System, Vault

COMMIT_PAUSES = (0.5, 2.0, 5.0)  # seconds between tries to store a renewed set while the database is away
FAILURE_PAUSE = timedelta(seconds=60)  # after a failed renewal, before this process asks again


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Renewal:
    """How a vendor renews.

    `renew` makes the calls and returns the whole new set; it raises ReconnectNeeded when the grant is
    dead and TransientError when nothing can be said. A token is renewed `ahead` of its end, or after four
    fifths of its life when that is later.
    """

    renew: Callable[[Credentials], Credentials]
    ahead: timedelta


class StoredTokens:
    """The `TokenSource` of the transport for one connection and system.

    A dead grant is remembered in the vault: no more calls until a person connects again.
    """

    def __init__(
        self,
        vault: Vault,
        connection: str,
        system: System,
        renewal: Renewal,
        *,
        now: Callable[[], datetime] = _utc_now,
        pause: Callable[[float], None] = sleep,
    ) -> None:
        self._vault = vault
        self._connection = connection
        self._system: System = system
        self._renewal = renewal
        self._now = now
        self._pause = pause
        self._known: Credentials | None = None
        self._failed_until: datetime | None = None

    def current(self) -> str:
        """A token with time left. Raises ReconnectNeeded, TransientError or SetupError."""
        known = self._known
        if known is None or not self._is_fresh(known):
            known, state = self._vault.get(self._connection, self._system)
            if state is State.RECONNECT_NEEDED or not self._is_fresh(known):
                known = self._renewed(stale="")
        self._known = known
        return known.access_token

    def renewed(self, stale: str) -> str:
        """Another token than `stale`, of another process if that has renewed. Raises like `current`."""
        self._known = self._renewed(stale=stale)
        return self._known.access_token

    def _renewed(self, *, stale: str) -> Credentials:
        if self._failed_until is not None and self._now() < self._failed_until:
            raise TransientError(
                "the last renewal failed", vendor=self._system, not_before=self._failed_until
            )
        try:
            return self._renewed_under_lock(stale)
        except TransientError as error:
            error.not_before = self._failed_until = error.not_before or self._now() + FAILURE_PAUSE
            raise

    def _renewed_under_lock(self, stale: str) -> Credentials:
        found = b""
        result: Credentials | ReconnectNeeded | None = None
        try:
            with self._vault.locked(self._connection, self._system) as held:
                if held.state is State.RECONNECT_NEEDED:
                    raise ReconnectNeeded("the grant is dead, connect again", vendor=self._system)
                if self._is_fresh(held.credentials) and held.credentials.access_token != stale:
                    return held.credentials
                found = held.sealed
                result = self._renew(held.credentials)
                if isinstance(result, ReconnectNeeded):
                    held.give_up()
                else:
                    held.save(result)
        except OperationalError as error:
            if result is None:
                raise TransientError(
                    "the stored credentials are out of reach", vendor=self._system
                ) from error
            if isinstance(result, Credentials):
                self._store_again(result, found)
        if isinstance(result, Credentials):
            return result
        raise result

    def _renew(self, credentials: Credentials) -> Credentials | ReconnectNeeded:
        try:
            return self._renewal.renew(credentials)
        except ReconnectNeeded as error:
            return error  # raised once the state is committed

    def _store_again(self, credentials: Credentials, found: bytes) -> None:
        for seconds in COMMIT_PAUSES:
            self._pause(seconds)
            try:
                self._vault.replace(self._connection, self._system, credentials, found=found)
            except OperationalError:
                continue
            return
        self._vault.rescue(self._connection, self._system, credentials, found=found)

    def _is_fresh(self, credentials: Credentials) -> bool:
        issued, expires = credentials.access_issued_at, credentials.access_expires_at
        if not credentials.access_token or issued is None or expires is None:
            return False
        return self._now() < expires - min(self._renewal.ahead, (expires - issued) / 5)
