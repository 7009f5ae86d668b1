"""How assets present themselves in the UI: descriptions, kinds, owners, groups. One table, applied to every connection."""

from collections.abc import Sequence

import dagster as dg

from ml_connector.orchestration import names
from ml_connector.settings import Connection

DESCRIPTIONS = {
    "read": "Reads what changed in QuickBooks: one CDC call for the open day, a query for a day that was read before.",
    "map": "Decides every new or held record by the published mapping: project, cost code, cost type, and the rule why.",
    "post": "Compares what Procore should hold with the ledger and writes only the difference. Repeating it is free.",
    "nothing_waits_for_people": "Fails as a warning while records of any day wait for a rule, a link or a decision.",
    "procore_took_everything": "Fails when Procore refused a record of these days, or has not answered for one yet.",
    "qbo/vendors": "Vendors as QuickBooks has them, every version kept.",
    "qbo/bills": "Bills as QuickBooks has them, by the day of their last change.",
    "qbo/bill_payments": "Payments to vendors, by the day of their last change.",
    "qbo/vendor_credits": "Vendor credits, by the day of their last change.",
    "qbo/other_costs": "Purchases, posted by the policy `expenses`, and journal entries, which the proof names.",
    "qbo/reference": "Accounts, items and customers: the lists that mapping needs.",
    "mapped/vendors": "Vendors that Procore should know.",
    "mapped/bill_lines": "Bill lines with project, cost code, cost type and rule; or why they are held or excluded.",
    "mapped/payments": "Payments with their cash and the credits that they use.",
    "procore/vendors": "Vendors in Procore's directory that are linked to QuickBooks.",
    "procore/direct_costs": "Direct costs in Procore made from bills and expenses; each is settled only at its full total.",
    "procore/requisitions": "Subcontractor invoices in Procore made from bills, each settled when its net is the bill's.",
    "procore/contract_payments": "Payments on commitments, and payment dates of direct costs, made from bill payments.",
    "procore/catalog": "The stored copy of Procore's projects and budget codes, with its age.",
    "proof/reconciliation": "QuickBooks and Procore, both read afresh, compared to the cent; every difference is named.",
    "sheets/published": "The published sheets. A file saved in the connection's folder is published, or refused, by itself.",
    "every_file_can_be_taken_in": "Fails while a sheet or a file of decisions has faults: each is listed with its row.",
    "both_sides_balance": "Fails when money on one side is explained by nothing on the other: the first differences follow.",
}
KINDS = {
    "qbo": {"quickbooks", "postgres"},
    "mapped": {"python", "postgres"},
    "procore": {"procore", "postgres"},
    "proof": {"quickbooks", "procore"},
    "sheets": {"csv", "postgres"},
}
GROUPS = {"qbo": "1_read", "mapped": "2_map", "procore": "3_post", "proof": "4_prove", "sheets": "2_map"}


def spec(
    connection: Connection, group: str, name: str, *, deps: Sequence[tuple[str, str]] = ()
) -> dg.AssetSpec:
    """The spec of one asset; `deps` are (group, name) of the same connection."""
    return dg.AssetSpec(
        key=names.key(connection.name, group, name),
        deps=[names.key(connection.name, other, entry) for other, entry in deps],
        description=DESCRIPTIONS[f"{group}/{name}"],
        kinds=KINDS[group],
        group_name=f"{connection.name}_{GROUPS[group]}",
        owners=[f"team:{connection.operator}"],
    )
