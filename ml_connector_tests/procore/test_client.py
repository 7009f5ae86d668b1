"""ProcoreClient: headers, pages, writes, and sync answers settled row by row."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest

from ml_connector.errors import OutcomeUnknown, PermanentError
from ml_connector.procore.client import Accepted, Missing, ProcoreClient, Refused, SyncAnswer
from ml_connector.procore.faults import DIALECT, read_fault, sentence
from ml_connector.transport.call import CallRefused
from ml_connector.transport.session import VendorSession
from ml_connector_tests.transport.doubles import FakeTime
from ml_connector_tests.transport.loopback import Reply, Server, answer, serving

COMPANY = 562949953421312  # beyond 32 bits


@contextmanager
def company(*replies: Reply) -> Iterator[tuple[ProcoreClient, Server]]:
    with serving(*replies) as server:
        session = VendorSession(
            DIALECT,
            server.origin,
            account="procore:1",
            headers={"Procore-Company-Id": str(COMPANY)},
            clock=FakeTime().clock,
        )
        yield ProcoreClient(session, COMPANY), server


def paged(rows: list[Any], following: str = "", *, total: int | None = None) -> bytes:
    headers = {"Total": str(len(rows) if total is None else total)}
    if following:
        headers["Link"] = f'<{following}>; rel="next", <{following}>; rel="last"'
    return answer(200, rows, headers)


def test_every_call_names_the_company_and_is_counted_by_route() -> None:
    with company(answer(200, {"id": 1}), answer(201, {"id": 2}), answer(200, {}), answer(204)) as (
        client,
        server,
    ):
        client.get("/rest/v1.0/projects/66005", {"company_id": COMPANY})
        client.post("/rest/v1.0/vendors", {"vendor": {"name": "Elm"}})
        client.patch("/rest/v1.0/vendors/3", {"vendor": {"name": "Elm"}})
        client.delete("/rest/v1.1/projects/1/vendors/3/actions/remove")
        sent = [request.headers["procore-company-id"] for request in server.requests]
    assert sent == [str(COMPANY)] * 4
    assert client.calls == {
        "GET /rest/v1.0/projects/{id}": 1,
        "POST /rest/v1.0/vendors": 1,
        "PATCH /rest/v1.0/vendors/{id}": 1,
        "DELETE /rest/v1.1/projects/{id}/vendors/{id}/actions/remove": 1,
    }


def test_money_goes_out_as_an_exact_number_and_comes_back_as_decimal() -> None:
    with company(answer(201, b'{"unit_cost":0.10,"grand_total":"1000.0"}')) as (client, server):
        got = client.post("/rest/v1.1/projects/1/direct_costs", {"manual_amount": Decimal("1000.10")})
    assert server.requests[0].body == b'{"manual_amount":1000.10}'
    assert got == {"unit_cost": Decimal("0.10"), "grand_total": "1000.0"}


def test_pages_follow_the_link_of_the_own_host_with_a_thousand_rows_a_page() -> None:
    with serving(b"") as server:
        session = VendorSession(DIALECT, server.origin, account="x", clock=FakeTime().clock)
        server.replies[:] = [
            paged([{"id": 1}], f"{server.origin}/rest/v1.0/vendors?page=2&per_page=1000", total=2),
            paged([{"id": 2}], total=2),
        ]
        rows = list(ProcoreClient(session, 1).pages("/rest/v1.0/vendors", {"filters[id][]": [1, 2]}))
    assert rows == [[{"id": 1}], [{"id": 2}]]
    assert server.requests[0].target == (
        "/rest/v1.0/vendors?filters%5Bid%5D%5B%5D=1&filters%5Bid%5D%5B%5D=2&per_page=1000"
    )
    assert server.requests[1].target == "/rest/v1.0/vendors?page=2&per_page=1000"


def test_F09_a_next_page_on_another_host_is_refused_and_gets_nothing() -> None:
    with (
        serving(paged([])) as foreign,
        company(paged([{"id": 1}], f"{foreign.origin}/x")) as (client, server),
    ):
        with pytest.raises(PermanentError, match="another host"):
            client.rows("/rest/v1.0/vendors")
        assert (len(server.requests), foreign.requests) == (1, [])


def test_pages_that_lead_in_a_circle_are_an_error() -> None:
    with company(paged([{"id": 1}], "/rest/v1.0/vendors?page=2", total=5)) as (client, server):
        with pytest.raises(PermanentError, match="circle"):
            client.rows("/rest/v1.0/vendors")
        assert len(server.requests) == 2


def test_F07_a_list_that_gives_fewer_rows_than_its_total_and_no_link_is_not_taken_as_whole() -> None:
    with (
        company(paged([{"id": 1}], total=2)) as (client, _),
        pytest.raises(PermanentError, match="no next page"),
    ):
        client.rows("/rest/v1.0/vendors")


def test_a_list_that_does_not_page_is_taken_as_it_is() -> None:
    with company(answer(200, [{"id": 1}, {"id": 2}])) as (client, _):
        assert client.rows("/rest/v1.0/companies/1/uoms") == [{"id": 1}, {"id": 2}]


def test_a_list_of_version_two_is_unwrapped() -> None:
    with company(answer(200, {"data": [{"id": "1"}]})) as (client, _):
        assert client.rows("/rest/v2.0/companies/1/projects/2/wbs/codes") == [{"id": "1"}]


@pytest.mark.parametrize("body", [{}, {"data": None}, {"data": {}}, "text"])
def test_a_list_of_another_shape_is_an_error_and_not_no_rows(body: object) -> None:
    with company(answer(200, body)) as (client, _), pytest.raises(PermanentError):
        client.rows("/rest/v1.0/vendors")


def test_F06_a_404_is_an_error_and_never_an_empty_list() -> None:
    with company(answer(404, {"errors": "Not found"})) as (client, _), pytest.raises(CallRefused) as caught:
        client.rows("/rest/v1.0/vendors", {"filters[origin_id]": "qbo:1:vendor:2"})
    assert (caught.value.status, caught.value.fault.text) == (404, "Not found")


UPDATES = [{"origin_id": name, "name": name} for name in ("a", "b", "c", "d")]


def test_F15_a_sync_sends_its_rows_and_every_row_is_settled_on_its_own() -> None:
    body = {
        "entities": [{"id": 3, "origin_id": "c"}, {"id": 1, "origin_id": "a"}],
        "errors": [{"origin_id": "b", "name": "b", "errors": {"invoice_number": ["has already been taken"]}}],
    }
    with company(answer(200, body)) as (client, server):
        got = client.sync("/rest/v1.0/vendors/sync", {"company_id": COMPANY}, UPDATES).settle(UPDATES)
    assert server.requests[0].json == {"company_id": COMPANY, "updates": UPDATES}
    assert got == {
        "a": Accepted({"id": 1, "origin_id": "a"}),
        "b": Refused("invoice_number has already been taken", {"invoice_number": ["has already been taken"]}),
        "c": Accepted({"id": 3, "origin_id": "c"}),
        "d": Missing(),
    }


@pytest.mark.parametrize(
    "body", [{}, [], {"entities": []}, {"entities": {}, "errors": []}, {"entities": [], "errors": ["x"]}]
)
def test_F08_a_sync_answer_without_its_lists_is_unknown(body: object) -> None:
    with company(answer(200, body)) as (client, _), pytest.raises(OutcomeUnknown):
        client.sync("/rest/v1.0/vendors/sync", {}, UPDATES)


def test_a_sync_that_is_too_large_is_told_apart_by_its_status() -> None:
    with company(answer(413, b"too large")) as (client, server):
        with pytest.raises(PermanentError) as caught:
            client.sync("/rest/v1.0/vendors/sync", {}, UPDATES)
        with pytest.raises(ValueError, match="1000"):
            client.sync("/rest/v1.0/vendors/sync", {}, [{}] * 1001)
        assert len(server.requests) == 1
    assert caught.value.status == 413


def settled(update: dict[str, Any], *, key: str = "origin_id", **lists: Any) -> object:
    answer = SyncAnswer(lists.get("entities", []), lists.get("errors", []))
    (outcome,) = answer.settle([update], key=key).values()
    return outcome


def test_a_row_is_found_by_its_id_where_the_answer_leaves_the_origin_id_out() -> None:
    update = {"id": 5, "origin_id": "a"}
    assert settled(update, entities=[{"id": "5"}]) == Accepted({"id": "5"})
    assert settled({"id": 5}, key="id", entities=[{"id": 5}]) == Accepted({"id": 5})
    assert settled(
        update, errors=[{"id": 5, "errors": {"id": ["Entity with this ID not found"]}}]
    ) == Refused("id Entity with this ID not found", {"id": ["Entity with this ID not found"]})


def test_a_record_that_did_not_take_the_origin_id_is_not_accepted() -> None:
    assert settled({"id": 5, "origin_id": "a"}, entities=[{"id": 5, "origin_id": None}]) == Missing()


def test_a_row_that_is_answered_twice_is_unknown() -> None:
    twice = [{"id": 1, "origin_id": "a"}, {"id": 2, "origin_id": "a"}]
    assert settled({"origin_id": "a"}, entities=twice) == Missing()
    assert settled({"origin_id": "a"}, entities=twice[:1], errors=[{"origin_id": "a"}]) == Missing()


def test_rows_that_cannot_be_told_apart_are_refused_before_anything_is_believed() -> None:
    with pytest.raises(ValueError, match="of its own"):
        SyncAnswer([], []).settle([{"origin_id": "a"}, {"origin_id": "a"}])
    with pytest.raises(ValueError, match="of its own"):
        SyncAnswer([], []).settle([{"name": "x"}])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            {"errors": {"invoice_number": ["has already been taken"], "vendor_id": "is missing"}},
            "invoice_number has already been taken; vendor_id is missing",
        ),
        ({"errors": "Unauthorized"}, "Unauthorized"),
        ({"errors": ["one", "two", "one"]}, "one; two"),
        ({"error": "text"}, "text"),
        ({"message": "text", "code": 7, "reason": "locked"}, "text; locked"),
        (
            {
                "error": {
                    "code": "BAD_REQUEST",
                    "message": "Bad",
                    "details": [{"source": "date", "message": "is old"}],
                }
            },
            "Bad; date is old",
        ),
        ("<html>\n  <b>Bad gateway</b></html>", "<html> <b>Bad gateway</b></html>"),
        ("x" * 2000, "x" * 500),
        ({}, ""),
        ([], ""),
        (None, ""),
    ],
)
def test_every_shape_of_error_body_becomes_one_sentence(body: object, words: str) -> None:
    assert sentence(body) == words


def test_the_errors_of_a_success_are_no_fault_of_the_call() -> None:
    assert read_fault(200, {"errors": [{"errors": {"name": ["is bad"]}}], "entities": []}) is None


def test_adding_a_vendor_to_a_project_takes_an_empty_answer() -> None:
    with company(answer(201)) as (client, server):
        client.add_project_vendor("66005", 8)
    assert server.requests[0].target == "/rest/v1.1/projects/66005/vendors/8/actions/add"
