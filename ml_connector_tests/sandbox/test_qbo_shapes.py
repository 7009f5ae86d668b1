"""The imitation's answers have the keys and types of recorded and documented answers."""

from decimal import Decimal
from typing import Any

import pytest

from ml_connector.sandbox.wire import parse_json
from ml_connector_tests.sandbox.conftest import Books, Samples, account_line


def differences(sample: Any, got: Any, at: str = "") -> list[str]:
    """Where `got` differs from `sample` in keys or types; lists are compared by their first element."""
    if isinstance(sample, dict) and isinstance(got, dict):
        found = [f"{at}.{name} is missing" for name in sample.keys() - got.keys()]
        found += [f"{at}.{name} is too much" for name in got.keys() - sample.keys()]
        for name in sample.keys() & got.keys():
            found += differences(sample[name], got[name], f"{at}.{name}")
        return found
    if isinstance(sample, list) and isinstance(got, list):
        return differences(sample[0], got[0], f"{at}[0]") if sample and got else []
    return [] if _kind(sample) == _kind(got) else [f"{at} is {_kind(got)}, sample has {_kind(sample)}"]


def _kind(value: Any) -> str:
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return "number"
    return type(value).__name__


def test_the_comparison_sees_a_missing_key_and_another_type() -> None:
    assert differences({"a": [{"b": 1}]}, {"a": [{}]}) == [".a[0].b is missing"]
    assert differences({}, {"b": 1}) == [".b is too much"]
    assert differences({"c": "x"}, {"c": 1}) == [".c is number, sample has str"]


def test_a_created_vendor_looks_like_the_recorded_one(books: Books, samples: Samples) -> None:
    answer = books.ask("POST", "vendor", json=samples["vendor-create-request"])
    assert differences(samples["vendor-create-response"], answer) == []


def test_a_created_bill_looks_like_the_recorded_one(books: Books, samples: Samples) -> None:
    answer = books.ask("POST", "bill", json=samples["bill-create-request"])
    assert differences(samples["bill-create-response"], answer) == []
    assert answer["Bill"]["TotalAmt"] == 150


def test_a_created_account_looks_like_the_recorded_one_and_lacks_last_updated_time(
    books: Books, samples: Samples
) -> None:
    body = {"Name": "Petty cash", "AccountType": "Bank", "AccountSubType": "CashOnHand"}
    answer = books.ask("POST", "account", json=body)
    assert differences(samples["account-create-response"], answer) == []
    assert int(answer["Account"]["Id"]) > 1_150_000_000


@pytest.mark.parametrize(
    ("sample", "entity"),
    [
        ("bill-query", "Bill"),
        ("billpayment-query", "BillPayment"),
        ("vendor-query", "Vendor"),
        ("account-query", "Account"),
        ("item-query", "Item"),
        ("customer-query", "Customer"),
        ("purchase-query", "Purchase"),
        ("class-query", "Class"),
    ],
)
def test_loaded_records_come_back_as_recorded(
    books: Books, samples: Samples, sample: str, entity: str
) -> None:
    recorded = samples[sample]
    books.control("POST", "reset", {"seed": "empty"})
    books.token = {}
    books.control("POST", "load", {entity: recorded["QueryResponse"][entity]})
    answer = books.ask("GET", "query", params={"query": f"select * from {entity}"})
    rows, wanted = answer["QueryResponse"].pop(entity), recorded["QueryResponse"].pop(entity)
    assert {row["Id"]: row for row in rows} == {row["Id"]: row for row in wanted}
    assert answer["QueryResponse"] == recorded["QueryResponse"]


@pytest.mark.parametrize(
    ("sample", "entity"),
    [
        ("bill-read-paid-account-lines", "Bill"),
        ("bill-both-detail-types-composed", "Bill"),
        ("bill-foreign-currency-composed", "Bill"),
        ("billpayment-check", "BillPayment"),
        ("billpayment-creditcard", "BillPayment"),
        ("billpayment-credit-only-composed", "BillPayment"),
        ("billpayment-multi-bill-with-credit-composed", "BillPayment"),
        ("vendor-read", "Vendor"),
        ("vendorcredit-read", "VendorCredit"),
        ("customer-read", "Customer"),
        ("account-read", "Account"),
        ("account-with-number-composed", "Account"),
    ],
)
def test_a_record_is_read_as_it_was_recorded(
    books: Books, samples: Samples, sample: str, entity: str
) -> None:
    recorded = samples[sample]
    books.control("POST", "load", {entity: [recorded[entity]]})
    answer = books.ask("GET", f"{entity.lower()}/{recorded[entity]['Id']}")
    assert answer[entity] == recorded[entity]
    assert answer.keys() == recorded.keys() | {"time"}


def test_company_info_and_preferences_are_read_as_loaded(books: Books, samples: Samples) -> None:
    company, preferences = samples["companyinfo-read"], samples["preferences-read"]
    books.control(
        "POST",
        "load",
        {"CompanyInfo": [company["CompanyInfo"]], "Preferences": [preferences["Preferences"]]},
    )
    assert books.ask("GET", "companyinfo/9341450000000001")["CompanyInfo"] == company["CompanyInfo"]
    read = books.ask("GET", "preferences")["Preferences"]
    assert {name: read[name] for name in preferences["Preferences"]} == preferences["Preferences"]


def test_deleted_and_voided_records_answer_like_the_documented_ones(books: Books, samples: Samples) -> None:
    bill = books.bill()
    payment = books.pay("150", ("Bill", bill["Id"], "150"), DocNumber="11")
    body = {"Id": payment["Id"], "SyncToken": "0", "sparse": True}
    voided = books.ask("POST", "billpayment", json=body, params={"operation": "update", "include": "void"})
    assert differences(samples["billpayment-void-response"], voided) == []
    body = {"Id": payment["Id"], "SyncToken": "1"}
    gone = books.ask("POST", "billpayment", json=body, params={"operation": "delete"})
    assert differences(samples["billpayment-delete-response"], gone) == []
    body = {"Id": bill["Id"], "SyncToken": books.read("Bill", bill["Id"])["SyncToken"]}
    gone = books.ask("POST", "bill", json=body, params={"operation": "delete"})
    assert differences(samples["bill-delete-response"], gone) == []


def test_count_and_empty_answers_have_their_bare_form(books: Books, samples: Samples) -> None:
    empty = books.ask("GET", "query", params={"query": "select * from Bill"})
    assert (empty["QueryResponse"], empty.keys()) == ({}, samples["query-empty"].keys())
    books.bill()
    count = books.ask("GET", "query", params={"query": "select count(*) from Bill"})
    assert differences(samples["query-count"], count) == []


def test_cdc_blocks_have_the_documented_form(books: Books, samples: Samples) -> None:
    since = "2026-01-03T00:00:00-08:00"
    books.control("POST", "switches", {"cdc_days": 40000})
    none = books.ask(
        "GET", "cdc", params={"entities": "Bill,BillPayment,VendorCredit", "changedSince": since}
    )
    assert none["CDCResponse"] == samples["cdc-empty-three-entities-composed"]["CDCResponse"]
    one = books.bill()
    books.save("Bill", {"Id": one["Id"], "SyncToken": "0"}, operation="delete")
    books.bill()
    rows = books.cdc("Bill", since)[0]["Bill"]
    sample = samples["cdc-bill-billpayment-vendor-composed"]["CDCResponse"][0]["QueryResponse"][0]["Bill"]
    assert differences(sample[-1], rows[-1]) == []


FAULTS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("fault-610-not-found", "GET", "bill/999", {}),
    (
        "fault-2500-invalid-reference",
        "POST",
        "bill",
        {"json": {"VendorRef": {"value": "56"}, "Line": [account_line("1", account="7")]}},
    ),
    ("fault-5010-stale", "POST", "vendor", {"json": {"Id": "56", "SyncToken": "9", "DisplayName": "B"}}),
    ("fault-6240-duplicate-name", "POST", "vendor", {"json": {"DisplayName": "NORTON lumber"}}),
    ("fault-4000-query-parser", "GET", "query", {"params": {"query": "select * from 'x'"}}),
    ("fault-4001-unknown-entity", "GET", "query", {"params": {"query": "select * from Custmoer"}}),
    (
        "fault-cdc-too-old-partly-composed",
        "GET",
        "cdc",
        {"params": {"entities": "Bill", "changedSince": "2020-07-01T00:00:00-07:00"}},
    ),
]


@pytest.mark.parametrize(("sample", "method", "path", "options"), FAULTS, ids=[case[0] for case in FAULTS])
def test_a_fault_has_its_recorded_form_and_code(
    books: Books, samples: Samples, sample: str, method: str, path: str, options: dict[str, Any]
) -> None:
    answer = books.call(method, path, **dict(options))
    got, recorded = parse_json(answer.content), samples[sample]
    got["Fault"]["Error"][0].setdefault("element", "")
    recorded["Fault"]["Error"][0].setdefault("element", "")
    assert answer.status_code == 400
    assert differences(recorded, got) == []
    for name in ("Message", "code"):
        assert got["Fault"]["Error"][0][name] == recorded["Fault"]["Error"][0][name]


def test_a_second_use_of_a_document_number_is_the_fault_6140(books: Books, samples: Samples) -> None:
    first = books.bill(DocNumber="INV-20881")
    body = {"VendorRef": {"value": "56"}, "Line": [account_line("1")], "DocNumber": "inv-20881"}
    answer = books.call("POST", "bill", json=body)
    fault = parse_json(answer.content)
    assert differences(samples["fault-6140-duplicate-docnum-composed"], fault) == []
    assert fault["Fault"]["Error"][0]["Detail"].endswith(f"TxnType=Bill with TxnId={first['Id']}")
    assert books.save("Bill", body, include="allowduplicatedocnum")["Id"] != first["Id"]
    assert books.bill(vendor="46", DocNumber="INV-20881")["DocNumber"] == "INV-20881"


def test_gateway_faults_keep_their_lower_case_form(books: Books, samples: Samples) -> None:
    stranger = books.call("GET", "bill/1", headers={"Authorization": "Bearer no-such-token"})
    assert stranger.status_code == 401
    assert stranger.headers["WWW-Authenticate"] == 'Bearer realm="Intuit", error="invalid_token"'
    assert differences(samples["fault-401-gateway"], parse_json(stranger.content)) == []
    app = {"client_id": "c", "client_secret": "s", "refresh_token": "r", "realms": ["1"]}
    books.control("POST", "load", {"App": [app]})
    token = books.session.post(
        f"{books.url}/oauth2/v1/tokens/bearer",
        auth=("c", "s"),
        data={"grant_type": "refresh_token", "refresh_token": "r"},
        timeout=10,
    ).json()
    foreign = books.call("GET", "bill/1", headers={"Authorization": f"Bearer {token['access_token']}"})
    got, sample = parse_json(foreign.content), samples["fault-403-authorization"]
    assert foreign.status_code == 403
    assert [word for word in differences(sample, got) if "too much" not in word] == []


def test_the_throttle_fault_has_no_retry_after(books: Books, samples: Samples) -> None:
    books.control("POST", "switches", {"requests_per_minute": 1})
    assert books.call("GET", "preferences").status_code == 200
    answer = books.call("GET", "preferences")
    assert (answer.status_code, "Retry-After" in answer.headers) == (429, False)
    assert differences(samples["fault-429-throttle"], parse_json(answer.content)) == []


def test_a_batch_answers_200_with_faults_per_item(books: Books, samples: Samples) -> None:
    request = {
        "BatchItemRequest": [
            {"bId": "bid1", "operation": "create", "Vendor": {"DisplayName": "Norton Lumber"}},
            {"bId": "bid2", "operation": "delete", "Bill": {"Id": "129", "SyncToken": "0"}},
            {
                "bId": "bid3",
                "operation": "update",
                "Vendor": {"Id": "56", "SyncToken": "4", "sparse": True, "Fax": {"FreeFormNumber": "1"}},
            },
            {"bId": "bid4", "Query": "select * from Bill where TotalAmt > '300.00'"},
        ]
    }
    answer = books.ask("POST", "batch", json=request)
    recorded = samples["batch-response-faults"]
    assert differences(recorded, answer) == []
    for sample, got in zip(recorded["BatchItemResponse"], answer["BatchItemResponse"], strict=True):
        assert differences(sample, got) == []
    codes = [item["Fault"]["Error"][0]["code"] for item in answer["BatchItemResponse"] if "Fault" in item]
    assert codes == ["6240", "610", "5010"]


def test_every_answer_carries_the_recorded_headers(books: Books, samples: Samples) -> None:
    answer = books.call("GET", "preferences")
    wanted = set(samples["api-response-headers"]) - {"service-time"}
    assert wanted <= {name.lower() for name in answer.headers}
    assert answer.headers["Content-Type"] == "application/json;charset=utf-8"


def test_without_an_accept_header_for_json_the_answer_is_xml(books: Books) -> None:
    answer = books.call("GET", "vendor/56", headers={"Accept": "*/*"})
    assert answer.headers["Content-Type"].startswith("application/xml")
    assert "<DisplayName>Bob's Burger Joint</DisplayName>" in answer.text


def test_discovery_names_the_recorded_members(books: Books, samples: Samples) -> None:
    answer = books.session.get(f"{books.url}/.well-known/openid_configuration", timeout=10).json()
    assert differences(samples["oauth-discovery"], answer) == []
    assert answer["token_endpoint"] == f"{books.url}/oauth2/v1/tokens/bearer"
