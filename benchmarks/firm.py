"""The firm that is measured: five projects, sixty vendors, a mapping of 200 rules, and bills of three lines, seeded."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

REALM = "9341450000000001"
COMPANY = 5001
NAME = "bench"
CONNECTOR = ("sandbox-client", "sandbox-secret", "RT1-sandbox")
PROJECTS = [101, 102, 103, 104, 105]
VENDORS = [str(number) for number in range(201, 261)]
ACCOUNTS = [(str(number), str(5000 + number), f"Job cost {number}") for number in range(1, 41)]
SUBCONTRACTS = ("80", "5900", "Subcontract costs")
CODES = [f"{division:02}-3000.{kind}" for division in range(1, 11) for kind in "LMSE"]
BEGAN = "2026-01-05T08:00:00-08:00"
START = "2026-01-01"
SPREAD = timedelta(minutes=10)  # so long the firm took to save all bills of one load
MAPPING_HEADER = (
    "account,item,class,location,vendor,customer,description,valid_from,valid_to,"
    "route,cost_code,cost_type,project,commitment,share,reason,note"
)


def mapping_csv() -> str:
    """200 rules: an account's own last, four for single vendors or words before it."""
    rows = [MAPPING_HEADER]
    for place, (_, number, _) in enumerate(ACCOUNTS):
        code, _, kind = CODES[place].rpartition(".")
        rows += [
            f"{number},,,,{VENDORS[(place + n) % 60]},,rental {n},,,direct_cost,{code},E,,,,,"
            for n in range(4)
        ]
        rows.append(f"{number},,,,,,,,,direct_cost,{code},{kind},,,,,")
    rows.append(f"{SUBCONTRACTS[1]},,,,,,,,,commitment,{CODES[2][:-2]},S,,,,,")
    return "\n".join(rows) + "\n"


def projects_csv() -> str:
    """Each job of QBO and its Procore project."""
    return "customer,project,note\n" + "".join(f"{project - 40},{project},\n" for project in PROJECTS)


def qbo_lists() -> dict[str, Any]:
    """What QBO holds before the first bill, as the control interface loads it."""
    meta = {"CreateTime": BEGAN, "LastUpdatedTime": BEGAN}
    client, secret, token = CONNECTOR
    return {
        "realm": REALM,
        "CompanyInfo": [{"Id": "1", "CompanyName": "Bench Builders", "Country": "US", "MetaData": meta}],
        "Account": [
            {
                "Id": id,
                "Name": name,
                "FullyQualifiedName": name,
                "AcctNum": number,
                "AccountType": "Cost of Goods Sold",
                "Classification": "Expense",
                "Active": True,
                "MetaData": meta,
            }
            for id, number, name in [*ACCOUNTS, SUBCONTRACTS]
        ]
        + [
            {
                "Id": "90",
                "Name": "Accounts Payable (A/P)",
                "FullyQualifiedName": "Accounts Payable (A/P)",
                "AcctNum": "2000",
                "AccountType": "Accounts Payable",
                "Classification": "Liability",
                "Active": True,
                "MetaData": meta,
            }
        ],
        "Customer": [
            {
                "Id": str(project - 40),
                "DisplayName": f"Job {project}",
                "FullyQualifiedName": f"Job {project}",
                "Active": True,
                "MetaData": meta,
            }
            for project in PROJECTS
        ],
        "Vendor": [
            {"Id": id, "DisplayName": f"Vendor {id}", "Active": True, "SyncToken": "0", "MetaData": meta}
            for id in VENDORS
        ],
        "App": [{"client_id": client, "client_secret": secret, "refresh_token": token, "realms": [REALM]}],
    }


def procore_lists() -> dict[str, Any]:
    """What Procore holds before the first bill: the vendors stand in the directory and on the projects."""
    return {
        "companies": [{"id": COMPANY, "name": "Bench Builders", "is_active": True}],
        "projects": [
            {"id": id, "company_id": COMPANY, "name": f"Project {id}", "active": True, "budget_codes": CODES}
            for id in PROJECTS
        ],
        "vendors": [
            {"id": 70000 + int(id), "company_id": COMPANY, "name": f"Vendor {id}", "project_ids": PROJECTS}
            for id in VENDORS
        ],
    }


def contracts(count: int) -> dict[str, Any]:
    """Approved commitments over all projects and the first vendors, each with one line, and open billing periods."""
    today = datetime.now(UTC).date()
    first = today.replace(day=1)
    last = (first + timedelta(days=32)).replace(day=1) - timedelta(days=1)
    dates = {"start_date": first.isoformat(), "end_date": last.isoformat(), "due_date": last.isoformat()}
    return {
        "commitments": [
            {
                "id": 7000 + place,
                "project_id": PROJECTS[place % 5],
                "number": f"SC-{7000 + place}",
                "title": "Subcontract",
                "status": "Approved",
                "vendor_id": 70000 + int(VENDORS[place]),
                "line_items": [
                    {"id": 9000 + place, "flat_code": CODES[2], "amount": 10_000_000, "description": "Work"}
                ],
            }
            for place in range(count)
        ],
        "billing_periods": [
            {"id": 3300 + project, "project_id": project, "status": "open", **dates} for project in PROJECTS
        ],
    }


def subcontract_bills(count: int, commitments: int) -> Iterator[dict[str, Any]]:
    """`count` bills of one line, each on one of the first `commitments` of `contracts`."""
    chance = Random(count)
    end = datetime.now(UTC) - timedelta(seconds=2)
    for number in range(count):
        place = number % commitments
        lines = [_line(1, chance.randrange(10_000, 900_000), SUBCONTRACTS[0], PROJECTS[place % 5])]
        saved = end - SPREAD * (1 - (number + 1) / count)
        yield _bill(str(20_000 + number), VENDORS[place], lines, saved)


def payment(place: int, bill: dict[str, Any]) -> dict[str, Any]:
    """A check that pays all of `bill`, saved now."""
    now = datetime.now(UTC)
    stamp = now.isoformat(timespec="seconds")
    return {
        "Id": str(50_000 + place),
        "SyncToken": "0",
        "MetaData": {"CreateTime": stamp, "LastUpdatedTime": stamp},
        "DocNumber": str(2231 + place),
        "TxnDate": now.date().isoformat(),
        "VendorRef": bill["VendorRef"],
        "APAccountRef": bill["APAccountRef"],
        "CurrencyRef": bill["CurrencyRef"],
        "PayType": "Check",
        "CheckPayment": {"BankAccountRef": {"value": "90"}, "PrintStatus": "NotSet"},
        "TotalAmt": bill["TotalAmt"],
        "Line": [{"Amount": bill["TotalAmt"], "LinkedTxn": [{"TxnId": bill["Id"], "TxnType": "Bill"}]}],
    }


def first_bills() -> list[dict[str, Any]]:
    """One bill of every vendor over all projects: after it all vendors are linked and on the projects."""
    made = []
    for place, vendor in enumerate(VENDORS):
        lines = [
            _line(n, 100 + place, ACCOUNTS[place % 40][0], project) for n, project in enumerate(PROJECTS, 1)
        ]
        made.append(_bill(str(1000 + place), vendor, lines, datetime.now(UTC)))
    return made


def bills(count: int, *, first: int = 10_000, lines: int = 3) -> Iterator[dict[str, Any]]:
    """`count` bills of `lines` lines each, saved evenly over the last ten minutes; the same for the same arguments."""
    chance = Random(first)
    end = datetime.now(UTC) - timedelta(seconds=2)
    for place in range(count):
        project = chance.choice(PROJECTS)
        # Every tenth bill is shared by two projects.
        other = chance.choice(PROJECTS) if place % 10 == 0 else project
        made = [
            _line(n, chance.randrange(100, 900_000), chance.choice(ACCOUNTS)[0], project if n > 1 else other)
            for n in range(1, lines + 1)
        ]
        saved = end - SPREAD * (1 - (place + 1) / count)
        yield _bill(str(first + place), chance.choice(VENDORS), made, saved)


def _line(number: int, cents: int, account: str, project: int) -> dict[str, Any]:
    detail = {
        "AccountRef": {"value": account},
        "CustomerRef": {"value": str(project - 40)},
        "BillableStatus": "NotBillable",
        "TaxCodeRef": {"value": "NON"},
    }
    return {
        "Id": str(number),
        "LineNum": number,
        "Amount": cents / 100,
        "Description": f"Delivery {number} for job {project}, as ordered by the site",
        "DetailType": "AccountBasedExpenseLineDetail",
        "AccountBasedExpenseLineDetail": detail,
    }


def _bill(id: str, vendor: str, lines: list[dict[str, Any]], saved: datetime) -> dict[str, Any]:
    stamp = saved.isoformat(timespec="seconds")
    cents = sum(round(line["Amount"] * 100) for line in lines)
    return {
        "Id": id,
        "SyncToken": "0",
        "MetaData": {"CreateTime": stamp, "LastUpdatedTime": stamp},
        "DocNumber": f"B-{id}",
        "TxnDate": saved.date().isoformat(),
        "DueDate": (saved.date() + timedelta(days=30)).isoformat(),
        "VendorRef": {"value": vendor, "name": f"Vendor {vendor}"},
        "APAccountRef": {"value": "90", "name": "Accounts Payable (A/P)"},
        "CurrencyRef": {"value": "USD", "name": "United States Dollar"},
        "PrivateNote": "",
        "TotalAmt": cents / 100,
        "Balance": cents / 100,
        "Line": lines,
    }
