"""StoredTokens: access tokens out of the vault, renewed by one process at a time for all.

The order keeps a rotating grant alive: lock the row, look again, renew, commit, and only then use. How a
vendor renews is handed in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import sleep

import structlog
from sqlalchemy.exc import OperationalError

from ml_connector.crashpoints import crashpoint
from ml_connector.errors import ReconnectNeeded, SetupError, TransientError
from ml_connector.store.grants import ending, reconnect, warning_due
from ml_connector.store.vault import Credentials, Held, State, System, Vault

COMMIT_PAUSES = (0.5, 2.0, 5.0)  # seconds between tries to store a renewed set while the database is away
FAILURE_PAUSE = timedelta(seconds=60)  # after a failed renewal, before this process asks again
_log = structlog.get_logger(__name__)


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

    A dead grant is remembered in the vault: no more calls until a person connects again. That, and the end of a
    consent that comes near, is one line of the log over all processes. `company` is whose grant it must be.
    """

    def __init__(
        self,
        vault: Vault,
        connection: str,
        system: System,
        renewal: Renewal,
        *,
        company: str = "",
        now: Callable[[], datetime] = _utc_now,
        pause: Callable[[float], None] = sleep,
    ) -> None:
        self._vault = vault
        self._connection = connection
        self._system: System = system
        self._renewal = renewal
        self._company = company
        self._now = now
        self._pause = pause
        self._known: Credentials | None = None
        self._failed_until: datetime | None = None

    def current(self) -> str:
        """A token with time left. Raises ReconnectNeeded, TransientError or SetupError."""
        known = self._known
        if known is None or not self._is_fresh(known):
            known, state = self._vault.get(self._connection, self._system)
            self._must_be_ours(known)
            if state is State.RECONNECT_NEEDED or not self._is_fresh(known):
                known = self._renewed(stale="")
        self._known = known
        return known.access_token

    def renewed(self, stale: str) -> str:
        """Another token than `stale`, of another process if that has renewed. Raises like `current`."""
        self._known = self._renewed(stale=stale)
        return self._known.access_token

    def lost(self, token: str) -> None:
        """Remember that the grant behind `token` is gone, unless another one is stored by now."""
        try:
            with self._vault.locked(self._connection, self._system) as held:
                if held.credentials.access_token == token and held.state is State.CONNECTED:
                    held.give_up()
                    self._tell_dead("the vendor refuses the company")
        except OperationalError as error:
            _log.warning("a dead grant could not be noted", system=self._system, error=type(error).__name__)

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
                self._must_be_ours(held.credentials)
                if held.state is State.RECONNECT_NEEDED:
                    raise ReconnectNeeded(reconnect(self._connection, self._system), vendor=self._system)
                if self._is_fresh(held.credentials) and held.credentials.access_token != stale:
                    return held.credentials
                found = held.sealed
                result = self._renew(held.credentials)
                crashpoint("K10")
                if isinstance(result, ReconnectNeeded):
                    held.give_up()
                    self._tell_dead(str(result))
                else:
                    self._warn_of_the_end(held, result)
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

    def _must_be_ours(self, credentials: Credentials) -> None:
        if self._company and credentials.company not in ("", self._company):
            raise SetupError(
                f"the stored {self._system} credentials are those of company {credentials.company}, and the "
                f"connection is for {self._company}: correct connection.yaml, or run "
                f"`ml-connector connect {self._system} {self._connection}`"
            )

    def _tell_dead(self, why: str) -> None:
        _log.error("reconnect needed", connection=self._connection, system=self._system, why=why)

    def _warn_of_the_end(self, held: Held, renewed: Credentials) -> None:
        """One line for each of the warnings, by whichever process comes first."""
        now = self._now()
        due = warning_due(renewed.ends_at, now)
        if due is not None and renewed.ends_at is not None and due < (held.warned_days or due + 1):
            _log.warning(
                "consent ends soon",
                connection=self._connection,
                system=self._system,
                sentence=ending(self._connection, self._system, renewed.ends_at, now),
            )
        held.warned_days = due

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
