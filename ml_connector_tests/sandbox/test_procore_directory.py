"""Projects and vendors of the imitated Procore."""

from pathlib import Path
from typing import Any

import pytest

from ml_connector_tests.sandbox.procore_desk import (
    ABSENT,
    BRIGHT,
    COMPANY,
    GRANITE,
    IDLE,
    P101,
    P102,
    P103,
    Desk,
    open_desk,
)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return open_desk(tmp_path)


VENDORS = "/rest/v1.0/vendors"


def _sync(desk: Desk, *updates: Any) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    body = desk.ok("PATCH", f"{VENDORS}/sync", {"company_id": COMPANY, "updates": list(updates)})
    return body["entities"], body["errors"]


def test_projects_are_found_by_status_number_and_origin(desk: Desk) -> None:
    updates = [{"id": P101, "origin_id": "qbo:1:customer:5", "project_number": "P-101"}]
    body = desk.ok("PATCH", "/rest/v1.0/projects/sync", {"company_id": COMPANY, "updates": updates})
    assert [row["origin_id"] for row in body["entities"]] == ["qbo:1:customer:5"]

    def found(**query: object) -> list[int]:
        return [row["id"] for row in desk.ok("GET", "/rest/v1.1/projects", company_id=COMPANY, **query)]

    assert found() == [P101, P102, P103]
    assert found(**{"filters[by_status]": "Active"}) == [P101, P102]
    assert found(**{"filters[by_status]": "Inactive"}) == [P103]
    assert found(**{"filters[project_number]": "P-101"}) == [P101]
    assert found(**{"filters[origin_id]": "qbo:1:customer:5"}) == [P101]
    assert found(**{"filters[id][]": [P102, P103]}) == [P102, P103]
    assert found(sort="-name") == [P101, P102, P103]
    assert desk.ok("GET", "/rest/v1.1/projects", company_id=COMPANY, view="ids")[0] == {"id": P101}
    assert desk.ok("GET", f"/rest/v1.0/projects/{P103}", company_id=COMPANY)["active"] is False
    assert len(desk.ok("GET", "/rest/v1.0/projects", company_id=COMPANY)) == 3


def test_a_vendor_is_made_read_changed_and_needs_a_name(desk: Desk) -> None:
    made = desk.ok(
        "POST", VENDORS, {"company_id": COMPANY, "vendor": {"name": "Helm Roofing", "origin_id": "v:1"}}
    )
    assert made["company"] == "Helm Roofing"
    assert made["synced_to_erp"] is True
    path = f"{VENDORS}/{made['id']}"
    assert desk.refused("PATCH", path, {"company_id": COMPANY, "vendor": {"city": "Bern"}})[0] == 400
    changed = {"name": "Helm", "city": "Bern"}
    assert desk.ok("PATCH", path, {"company_id": COMPANY, "vendor": changed})["city"] == "Bern"
    assert desk.ok("GET", path, company_id=COMPANY)["name"] == "Helm"
    assert desk.refused("POST", VENDORS, {"company_id": COMPANY, "vendor": {"name": " "}}) == (
        400,
        {"errors": {"name": ["can't be blank"]}},
    )
    assert desk.refused("GET", f"{VENDORS}/5", company_id=COMPANY)[0] == 404


def test_a_taken_origin_id_is_refused_and_a_taken_name_is_not(desk: Desk) -> None:
    twin = {"company_id": COMPANY, "vendor": {"name": "Granite Supply"}}
    assert desk.ok("POST", VENDORS, twin)["id"] != GRANITE
    taken = {"company_id": COMPANY, "vendor": {"name": "X", "origin_id": "qbo:1:vendor:9"}}
    assert desk.refused("POST", VENDORS, taken) == (
        422,
        {"errors": {"origin_id": ["has already been taken"]}},
    )
    desk.vendor.switch("duplicate_origin_id_status", 400)
    assert desk.refused("POST", VENDORS, taken)[0] == 400
    desk.vendor.switch("duplicate_vendor_names", "refuse")
    assert desk.refused("POST", VENDORS, twin) == (422, {"errors": {"name": ["has already been taken"]}})


def test_S103_sync_updates_by_id_or_origin_adopts_creates_and_settles_each_row(desk: Desk) -> None:
    entities, errors = _sync(
        desk,
        {"id": BRIGHT, "city": "Olten"},
        {"origin_id": "qbo:1:vendor:9", "zip": "4600"},
        {"id": GRANITE, "origin_id": "qbo:1:vendor:8"},
        {"name": "Neither"},
        {"origin_id": "qbo:1:vendor:11", "name": "New"},
        {"id": 4, "name": "Nobody"},
        {"origin_id": "qbo:1:vendor:12"},
        {"id": IDLE, "origin_id": "qbo:1:vendor:9"},
    )
    assert [row["id"] for row in entities[:3]] == [BRIGHT, BRIGHT, GRANITE]
    assert [row["name"] for row in entities[3:]] == ["Neither", "New"]
    assert errors == [
        {"id": 4, "name": "Nobody", "errors": {"id": ["Entity with this ID not found"]}},
        {"origin_id": "qbo:1:vendor:12", "errors": {"name": ["can't be blank"]}},
        {"id": IDLE, "origin_id": "qbo:1:vendor:9", "errors": {"origin_id": ["has already been taken"]}},
    ]
    bright = desk.ok("GET", f"{VENDORS}/{BRIGHT}", company_id=COMPANY)
    assert (bright["city"], bright["zip"]) == ("Olten", "4600")
    again, _ = _sync(desk, {"origin_id": "qbo:1:vendor:11", "name": "New"})
    assert again[0]["id"] == entities[4]["id"]


def test_F15_a_row_can_be_refused_or_done_and_left_out_of_both_lists(desk: Desk) -> None:
    rows = [{"origin_id": f"v:{n}", "name": f"V{n}"} for n in range(3)]
    body = {"company_id": COMPANY, "updates": rows}
    lost = desk.call(
        "PATCH", f"{VENDORS}/sync", body, instructions={"item_fault": {"index": 1, "lost": True}}
    )
    assert [row["origin_id"] for row in lost.body["entities"]] == ["v:0", "v:2"]
    assert lost.body["errors"] == []
    assert len(desk.ok("GET", VENDORS, company_id=COMPANY, **{"filters[origin_id]": "v:1"})) == 1
    refused = desk.call("PATCH", f"{VENDORS}/sync", body, instructions={"item_fault": {}})
    assert [row["origin_id"] for row in refused.body["errors"]] == ["v:0"]
    desk.vendor.switch("sync_order", "reversed")
    assert [row["origin_id"] for row in _sync(desk, *rows)[0]] == ["v:2", "v:1", "v:0"]


def test_a_sync_takes_a_thousand_rows_and_no_more(desk: Desk) -> None:
    rows = [{"origin_id": f"v:{n}", "name": f"V{n}"} for n in range(1001)]
    assert desk.refused("PATCH", f"{VENDORS}/sync", {"company_id": COMPANY, "updates": rows})[0] == 413
    assert len(_sync(desk, *rows[:1000])[0]) == 1000


def test_vendors_are_searched_and_inactive_ones_stand_apart(desk: Desk) -> None:
    register = {"type": "ein", "identifier": "12-3456789"}
    _sync(desk, {"id": GRANITE, "business_register_attributes": register})

    def found(**query: object) -> list[int]:
        return [row["id"] for row in desk.ok("GET", VENDORS, company_id=COMPANY, **query)]

    assert found() == [GRANITE, BRIGHT, ABSENT]
    assert found(sort="name") == [ABSENT, BRIGHT, GRANITE]
    assert found(**{"filters[search]": "granite"}) == [GRANITE]
    assert found(**{"filters[search]": "12-3456789"}) == [GRANITE]
    assert found(**{"filters[origin_id]": "qbo:1:vendor:9"}) == [BRIGHT]
    assert found(**{"filters[origin_id]": "qbo:1:vendor"}) == []
    assert found(**{"filters[id][]": [GRANITE, IDLE]}) == [GRANITE]
    today = "2026-02-10T11:00:00Z...2026-02-10T13:00:00Z"
    assert found(**{"filters[updated_at]": today}) == [GRANITE, BRIGHT, ABSENT]
    assert found(**{"filters[updated_at]": "2026-02-11...2026-02-12"}) == []
    assert desk.refused("GET", VENDORS, company_id=COMPANY, **{"filters[updated_at]": "soon"})[0] == 400
    inactive = f"/rest/v1.0/companies/{COMPANY}/vendors/inactive"
    assert [row["id"] for row in desk.ok("GET", inactive)] == [IDLE]
    assert desk.ok("PATCH", f"{inactive}/{IDLE}")["is_active"] is True
    assert desk.ok("GET", inactive) == []


def test_a_vendor_is_put_on_a_project_again_and_again_and_taken_off(desk: Desk) -> None:
    path = f"/rest/v1.1/projects/{P102}/vendors"
    assert desk.refused("GET", f"{path}/{BRIGHT}")[0] == 404
    for _ in range(2):
        assert desk.call("POST", f"{path}/{BRIGHT}/actions/add").status == 201
    assert [row["id"] for row in desk.ok("GET", path)] == [GRANITE, BRIGHT]
    assert desk.ok("GET", path, view="ids_only") == [{"id": GRANITE}, {"id": BRIGHT}]
    assert desk.ok("GET", f"{path}/{BRIGHT}")["name"] == "Bright Electric"
    assert desk.call("DELETE", f"{path}/{BRIGHT}/actions/remove").status == 204
    assert desk.refused("GET", f"{path}/{BRIGHT}")[0] == 404


@pytest.mark.parametrize("given", [{"name": "X", "is_active": "yes"}, {"name": {"a": 1}}])
def test_a_malformed_vendor_field_is_a_400(desk: Desk, given: dict[str, object]) -> None:
    assert desk.refused("POST", VENDORS, {"company_id": COMPANY, "vendor": given})[0] == 400
