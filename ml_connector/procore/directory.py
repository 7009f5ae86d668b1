"""Vendors of Procore's directories, read whole: one that is not in the answer must be surely not there."""

from dataclasses import dataclass
from typing import Any

from ml_connector.errors import PermanentError
from ml_connector.procore.client import ProcoreClient, Raw


@dataclass(frozen=True)
class DirectoryVendor:
    """A company of Procore's directory; "" for what it does not say."""

    id: int
    name: str
    origin_id: str
    active: bool
    city: str
    street: str = ""
    postal_code: str = ""


def fetch_vendors(client: ProcoreClient) -> list[DirectoryVendor]:
    """The company's vendors, the active list and then the inactive one (procore-api 4)."""
    active = client.rows("/rest/v1.0/vendors", {"company_id": client.company_id})
    return [
        *(_vendor(row, active=row.get("is_active") is not False) for row in active),
        *fetch_inactive_vendors(client),
    ]


def fetch_inactive_vendors(client: ProcoreClient) -> list[DirectoryVendor]:
    """The company's inactive vendors, which Procore lists apart."""
    rows = client.rows(f"/rest/v1.0/companies/{client.company_id}/vendors/inactive")
    return [_vendor(row, active=False) for row in rows]


def fetch_project_vendor_ids(client: ProcoreClient, project_id: str) -> set[int]:
    """The ids of the vendors on a project. Rows of `ids_only` may be bare ids or objects: both are taken."""
    path = f"/rest/v1.1/projects/{project_id}/vendors"
    return {_vendor_id(row) for page in client.pages(path, {"view": "ids_only"}) for row in page}


def _vendor(row: Raw, *, active: bool) -> DirectoryVendor:
    return DirectoryVendor(
        id=_vendor_id(row),
        name=str(row.get("name") or ""),
        origin_id=str(row.get("origin_id") or ""),
        active=active,
        city=str(row.get("city") or ""),
        street=str(row.get("address") or ""),
        postal_code=str(row.get("zip") or ""),
    )


def _vendor_id(row: Any) -> int:
    value: Any = row.get("id") if isinstance(row, dict) else row
    try:
        return int(value)
    except (TypeError, ValueError):
        raise PermanentError("a vendor in a list has no id", vendor="procore") from None
