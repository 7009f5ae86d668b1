"""Where things are and how a connection behaves: environment and connection files -> frozen, typed settings.

No secret is read here. A file that cannot be used raises SetupError with every fault and its place.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from ml_connector.errors import SetupError

HOME_VARIABLE = "ML_CONNECTOR_HOME"
DATABASE_VARIABLE = "ML_CONNECTOR_DATABASE_URL"
DAGSTER_DATABASE_VARIABLE = "ML_CONNECTOR_DAGSTER_URL"
UI_VARIABLE = "ML_CONNECTOR_UI_URL"  # where people reach the Dagster UI: links to runs begin with it
KEYS_VARIABLE = "ML_CONNECTOR_KEYS"  # the key ring itself; one of the three at most
KEYS_FILE_VARIABLE = "ML_CONNECTOR_KEYS_FILE"
KEYS_COMMAND_VARIABLE = "ML_CONNECTOR_KEYS_COMMAND"
MAIL_ADDRESS = r"^[^@\s<>,]+@[^@\s<>,]+$"
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


def _not_reserved(name: str) -> str:
    if "__" in name or name.endswith("_") or name == "unknown":
        raise ValueError(
            f"{name!r} cannot be told apart in the names of webhook files: no `__`, `_` at the end, or `unknown`"
        )
    return name


ConnectionName = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,30}$"), AfterValidator(_not_reserved)
]


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"{name!r} is not a time zone such as America/Denver") from error
    return name


RateId = Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, int) else value)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class QboSettings(_Frozen):
    """One QBO company. Hosts are never derived from each other (qbo-api 2)."""

    realm_id: str = Field(pattern=r"^\d{1,20}$")
    home_currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")
    api_url: str = "https://quickbooks.api.intuit.com"
    token_url: str = "https://oauth.platform.intuit.com/oauth2/v1/tokens/bearer"  # noqa: S105 an address
    authorize_url: str = "https://appcenter.intuit.com/connect/oauth2"
    revoke_url: str = "https://developer.api.intuit.com/v2/oauth2/tokens/revoke"
    redirect_url: str = "http://localhost:8766/callback"  # as it stands in the app's settings at Intuit
    callback_port: int | None = Field(default=None, ge=1, le=65535)  # behind a proxy that has `redirect_url`
    app_url: str = "https://qbo.intuit.com/app"


class ProcoreSettings(_Frozen):
    """One Procore company (procore-api 1)."""

    company_id: int = Field(gt=0)
    api_url: str = "https://api.procore.com"
    token_url: str = "https://login.procore.com/oauth/token"  # noqa: S105 an address
    revoke_url: str = "https://login.procore.com/oauth/revoke"
    app_url: str = "https://app.procore.com"


class Limits(_Frozen):
    """Calls we allow ourselves; the vendor's own headers narrow them further."""

    qbo_per_minute: int = Field(default=450, gt=0)  # QBO: 500 a minute for each company
    procore_per_hour: int = Field(default=3600, gt=0)
    procore_per_ten_seconds: int = Field(default=100, gt=0)


class Policies(_Frozen):
    """The firm's choices; the words and defaults are those of the product's policy table."""

    bad_line: Literal["hold", "send_good_lines"] = "hold"
    direct_cost_status: Literal["approved", "pending"] = "approved"
    overhead: Literal["exclude", "hold"] = "exclude"
    negative_line: Literal["hold", "net"] = "hold"  # of a direct cost, where Procore may refuse it
    links: Literal["origin_id", "ledger_only"] = "origin_id"  # an origin id locks a record for people
    payment_reference: Literal["origin_id", "notes"] = "origin_id"
    direct_cost_payment_date: Literal["when_settled", "never"] = "when_settled"
    retainage: Literal["hold", "separate_line", "paid_short", "net_bill"] = "hold"
    schedule_lines: Literal["hold", "in_order"] = "hold"  # several lines of a commitment fit
    overbilling: Literal["hold", "send"] = "hold"
    opening_difference: Literal["hold", "post"] = (
        "hold"  # of a commitment, between books and Procore at the start
    )
    back_charge: Literal["hold", "net"] = "hold"  # a negative line on a commitment
    stored_materials: Literal["work", "stored"] = "work"  # lines whose text says "stored"
    commitment_missing: Literal["hold", "direct_cost"] = "hold"
    commitment_expected: Literal["warn", "hold", "post"] = "warn"  # a direct cost beside an open commitment
    gone_requisition: Literal["hold", "draft", "delete"] = (
        "hold"  # its bill was voided, deleted or moved away
    )
    gone_direct_cost: Literal["draft", "delete", "hold"] = "draft"  # likewise
    requisition_status: Literal["approved", "under_review"] = "approved"
    tax: Literal["hold", "spread", "own_code", "exclude"] = (
        "hold"  # what stands beside the lines and is a cost
    )
    recoverable_tax: tuple[RateId, ...] = ()  # QBO ids of tax rates that the firm gets back: never a cost
    tax_cost_code: str = ""  # with `own_code`
    tax_cost_type: str = ""
    foreign_currency: Literal["hold", "home_amount"] = "hold"
    new_vendors: Literal["create", "propose", "hold"] = "create"  # a vendor that has no link yet
    budget_code_missing: Literal["hold", "create"] = "hold"  # a cost code and cost type that no one joined
    budget_line_missing: Literal["warn", "hold"] = "warn"  # a budget code that the budget has no line for
    expenses: Literal["off", "direct_cost"] = "off"  # what was paid by card, check or cash without a bill
    vendor_inactive: Literal["leave", "follow"] = "leave"  # a vendor made inactive in QBO, in Procore
    books_closed_to: date | None = None  # changes dated up to here that are first seen from now on are held
    edit_after_posting: Literal["follow", "hold"] = "follow"  # a change of a bill that is in Procore
    approval: Literal["off", "all", "above"] = (
        "off"  # which bills a person must approve before they are posted
    )
    approval_above: Decimal | None = Field(default=None, ge=0, max_digits=18, decimal_places=2)
    approval_two_persons: bool = False  # who published the mapping may not approve by it

    @property
    def links_invoices(self) -> bool:
        """Whether subcontractor invoices carry an origin id; under review, people must be able to edit them."""
        return self.links == "origin_id" and self.requisition_status == "approved"

    @property
    def links_payments(self) -> bool:
        """Whether contract payments carry an origin id, and no mark in their notes."""
        return self.links == "origin_id" and self.payment_reference == "origin_id"

    @model_validator(mode="after")
    def _tax_has_a_code(self) -> "Policies":
        if self.tax == "own_code" and not (self.tax_cost_code and self.tax_cost_type):
            raise ValueError("tax: own_code needs tax_cost_code and tax_cost_type")
        return self

    @model_validator(mode="after")
    def _approval_has_its_limit(self) -> "Policies":
        if self.approval == "above" and self.approval_above is None:
            raise ValueError("approval: above needs approval_above, an amount")
        return self


class Timing(_Frozen):
    """Waits, in seconds."""

    overlap: int = Field(default=900, ge=0, le=86_400)  # CDC asks again for this much before its cursor
    settle: int = Field(default=120, ge=0)  # an unclear write is left alone for this long
    patience: float = Field(
        default=120, ge=0, le=600
    )  # a call that fails for a while is tried again for this long
    catalog_age: int = Field(
        default=900, ge=0
    )  # a copy of Procore's lists older than this is refreshed before mapping


class MailServer(_Frozen):
    """Where alarms and notes leave as e-mail. The password stands in a file of its own."""

    host: str = Field(min_length=1)
    port: int = Field(default=587, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    sender: str = Field(pattern=MAIL_ADDRESS)
    user: str = ""
    password_file: Path | None = None

    @model_validator(mode="after")
    def _secrets_are_not_sent_in_the_open(self) -> "MailServer":
        if self.security == "none" and self.host not in LOOPBACK_NAMES:
            raise ValueError("security: none is for a mail server on this machine alone")
        if bool(self.user) != (self.password_file is not None):
            raise ValueError("user and password_file go together")
        return self


MailAddress = Annotated[str, StringConstraints(pattern=MAIL_ADDRESS)]


class Alarms(_Frozen):
    """Who is told of trouble, how, and when a wait becomes one."""

    to: tuple[MailAddress, ...] = ()
    hook_file: Path | None = (
        None  # its one line is an address that takes {"text": …}; who has it can post there
    )
    mail: MailServer | None = None
    hold_days: int = Field(default=7, ge=1)  # a record that waits for longer
    unread_hours: int = Field(default=2, ge=1)  # QuickBooks not read for longer
    accounting: tuple[MailAddress, ...] = ()  # the morning note with the sheet of what waits
    projects: Mapping[str, tuple[MailAddress, ...]] = {}  # the morning note of a Procore project, by its id

    @model_validator(mode="after")
    def _mail_has_a_server(self) -> "Alarms":
        if (self.to or self.accounting or self.projects) and self.mail is None:
            raise ValueError("addresses need `mail`: host and sender of the mail server")
        return self


class Connection(_Frozen):
    """One QBO company feeding one Procore company, as `connections/<name>/connection.yaml` says."""

    name: ConnectionName
    qbo: QboSettings
    procore: ProcoreSettings
    time_zone: Annotated[str, AfterValidator(_known_zone)]
    start_date: date
    poll_cron: str = "*/15 * * * *"
    limits: Limits = Limits()
    policies: Policies = Policies()
    timing: Timing = Timing()
    alarms: Alarms = Alarms()
    operator: str = "accounting"

    @property
    def zone(self) -> ZoneInfo:
        """The company's time zone."""
        return ZoneInfo(self.time_zone)


@dataclass(frozen=True)
class Home:
    """The folder that holds connections, inbox and local files."""

    root: Path

    @property
    def connections(self) -> Path:
        """One folder a connection."""
        return self.root / "connections"

    @property
    def inbox(self) -> Path:
        """Webhook files not yet taken."""
        return self.root / "inbox"

    @property
    def done(self) -> Path:
        """Webhook files whose change was read."""
        return self.root / "done"

    @property
    def dagster(self) -> Path:
        """DAGSTER_HOME."""
        return self.root / "dagster"

    @property
    def receiver(self) -> Path:
        """What the webhook receiver may read."""
        return self.root / "receiver"

    @property
    def keys(self) -> Path:
        """The key ring of the vault, 0600."""
        return self.root / "keys" / "ring.json"

    def audit_heads(self, connection: str) -> Path:
        """Where each run notes the end of the connection's audit trail, outside the database."""
        return self.root / "audit" / f"{connection}.heads"

    def folder(self, connection: str) -> Path:
        """The folder of one connection."""
        return self.connections / connection


def home_from(environment: Mapping[str, str] = os.environ) -> Home:
    """The home that ML_CONNECTOR_HOME names. Raises SetupError when it is not set."""
    value = environment.get(HOME_VARIABLE, "")
    if not value:
        raise SetupError(f"{HOME_VARIABLE} is not set: name the folder that holds connections/ and inbox/")
    return Home(Path(value).expanduser().absolute())


def load_connection(home: Home, name: str) -> Connection:
    """The settings of one connection. Raises SetupError naming file, field and fault."""
    path = home.folder(name) / "connection.yaml"
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    except FileNotFoundError:
        raise SetupError(
            f"there is no connection {name!r}: {path} is missing; `ml-connector init {name}` makes one"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SetupError(f"{path} is not readable YAML: {error}") from error
    if not isinstance(content, dict):
        raise SetupError(f"{path} must hold fields such as `qbo:` and `procore:`")
    try:
        return Connection.model_validate({**content, "name": name})
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()
        )
        raise SetupError(f"{path}: {faults}") from error


def load_connections(home: Home) -> list[Connection]:
    """All connections of the home, by name. A folder without connection.yaml raises SetupError, not silence."""
    if not home.connections.is_dir():
        return []
    names = sorted(entry.name for entry in home.connections.iterdir() if entry.is_dir())
    return [load_connection(home, name) for name in names]
