"""Where one home's embedded Postgres keeps its files, which account owns them, and how they are made.

Nothing here runs the server; `postgres_server` does.
"""

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_connector.errors import SetupError
from ml_connector.store.postgres_binaries import SHARED_STATE

ROLE = "ml_connector"
PORT = 5432  # no port is opened; it is part of the socket's name

_ACCOUNTS = ("postgres", "nobody")
_LONGEST_SOCKET_PATH = 103  # macOS; Linux takes four more


@dataclass(frozen=True)
class Account:
    """Who runs Postgres, which refuses root. `switch` are the arguments by which subprocess becomes it."""

    uid: int
    gid: int

    @property
    def switch(self) -> dict[str, Any]:
        return {} if self.uid == os.geteuid() else {"user": self.uid, "group": self.gid, "extra_groups": []}

    def can_enter(self, folder: Path) -> bool:
        probe = ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)]
        done = subprocess.run(probe, cwd="/", stderr=subprocess.DEVNULL, check=False, **self.switch)
        return done.returncode == 0

    def give(self, path: Path) -> None:
        if self.switch:
            os.chown(path, self.uid, self.gid)


@dataclass(frozen=True)
class Cluster:
    """The files of one home's Postgres. `folder` is `<home>/postgres` with symbolic links followed."""

    home: Path
    folder: Path
    account: Account

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "postgres.log"

    @property
    def access_rules(self) -> Path:
        return self.folder / "pg_hba.conf"

    @property
    def account_names(self) -> Path:
        return self.folder / "pg_ident.conf"

    @property
    def started_by(self) -> Path:
        return self.folder / "started-by"

    @property
    def socket_folder(self) -> Path:
        folder = self.folder / "run"
        if len(str(folder / f".s.PGSQL.{PORT}")) <= _LONGEST_SOCKET_PATH:
            return folder
        digest = hashlib.sha256(str(self.folder).encode()).hexdigest()[:16]
        return Path("/tmp") / f"ml-connector-{digest}"  # noqa: S108 ownership and mode are checked before use


def cluster_of(home: Path) -> Cluster:
    place = home / "postgres"
    if place.is_symlink() and not place.exists():
        raise SetupError(
            f"{place} points to {place.readlink()}, which is gone: restore it, or drop the link."
        )
    account = _account(place / "data")
    if not place.exists():
        if account.can_enter(home):
            place.mkdir(mode=0o755 if account.switch else 0o700)
        else:
            # No account but root may enter this home, and Postgres must not be root: its data lies elsewhere.
            SHARED_STATE.mkdir(mode=0o755, parents=True, exist_ok=True)
            elsewhere = Path(tempfile.mkdtemp(dir=SHARED_STATE, prefix="home-"))
            elsewhere.chmod(0o755)
            (elsewhere / "home").write_text(f"{home}\n")
            place.symlink_to(elsewhere)
    folder = place.resolve()
    if not account.can_enter(folder):
        raise SetupError(
            f"Postgres must run as user {account.uid}, not as root, and that user may not enter {folder}: "
            f"make its parents passable (chmod o+x), or move it and let {place} be a symbolic link to it."
        )
    return Cluster(home, folder, account)


def _account(data: Path) -> Account:
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    if data.exists() and data.stat().st_uid != 0:
        return Account(data.stat().st_uid, data.stat().st_gid)
    for name in _ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise SetupError(
        "Postgres refuses to run as root and there is neither a 'postgres' nor a 'nobody' account to run it: "
        "start ml-connector as an ordinary user, or set ML_CONNECTOR_DATABASE_URL."
    )


def make_cluster(cluster: Cluster, programs: Path, *, durable: bool) -> None:
    """initdb beside the final place, then a rename: a kill in between leaves nothing that looks whole."""
    draft = cluster.folder / "data.new"
    if draft.exists():
        shutil.rmtree(draft)
    draft.mkdir(mode=0o700)
    cluster.account.give(draft)
    locale = "C.UTF-8" if sys.platform == "linux" else "C"
    options = ["--data-checksums", "--encoding=UTF8", f"--locale={locale}", f"--username={ROLE}"]
    access = ["--auth-local=peer", "--auth-host=reject"]
    if not durable:
        options.append("--no-sync")
    done = subprocess.run(
        [programs / "initdb", f"--pgdata={draft}", *options, *access],
        cwd=draft,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        **cluster.account.switch,
    )
    if done.returncode != 0:
        raise SetupError(
            f"initdb could not make a Postgres cluster in {cluster.folder}: {done.stderr.strip()}"
        )
    draft.rename(cluster.data)


def allow_only_us(cluster: Cluster) -> None:
    """The account that runs ml-connector may log in over the socket, as our role; nobody else."""
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError as error:
        raise SetupError(
            f"User {os.geteuid()} has no name in the system's user list, which Postgres needs: add one."
        ) from error
    # Outside the data folder, whose owner may be another account and must not steer where we write.
    cluster.access_rules.write_text(f"local all {ROLE} peer map=owner\n")
    cluster.account_names.write_text(f'owner "{user}" {ROLE}\n')
    for path in (cluster.access_rules, cluster.account_names):
        path.chmod(0o644)


def prepare_socket_folder(cluster: Cluster) -> None:
    folder = cluster.socket_folder
    try:
        folder.mkdir(mode=0o700)
        cluster.account.give(folder)
    except FileExistsError:
        found = folder.lstat()
        if (found.st_mode, found.st_uid) != (stat.S_IFDIR | 0o700, cluster.account.uid):
            raise SetupError(
                f"{folder} must be a folder of user {cluster.account.uid} with mode 0700: remove it."
            ) from None


def remove_cluster(cluster: Cluster) -> None:
    shutil.rmtree(cluster.folder)
    if cluster.socket_folder.exists():
        shutil.rmtree(cluster.socket_folder)
    (cluster.home / "postgres").unlink(missing_ok=True)


def environment() -> dict[str, str]:
    """Nothing of ours, no secret and no PG* variable, reaches the server's environment."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8" if sys.platform == "linux" else "C"}
