"""Where Procore's own behaviour is in doubt: every switch of the imitation, its default and its choices.

The defaults follow the reference's list of sensible choices; a rule that no source names is marked (ours).
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Switch:
    """One choice. `choices` None means: any whole number from 0."""

    default: Any
    choices: tuple[Any, ...] | None
    meaning: str


SWITCHES: dict[str, Switch] = {
    # tokens, headers, limits, lists
    "access_token_seconds": Switch(5400, None, "lifetime of an access token"),
    "missing_company_header_status": Switch(400, (400, 403), "answer without Procore-Company-Id"),
    "unpermitted_project_status": Switch(403, (403, 404), "answer for a project off the permitted list"),
    "hourly_limit": Switch(3600, None, "calls an hour"),
    "spike_limit": Switch(100_000, None, "calls in 10 seconds; the default is practically off"),
    "limit_per": Switch("app", ("app", "company", "token"), "whom the limits count"),
    "retry_after": Switch(True, (True, False), "429 carries Retry-After"),
    "default_page_size": Switch(100, None, "v1 lists, where the reference names none"),
    "search_lag_seconds": Switch(0, None, "lists do not show what was created this recently"),
    "sync_order": Switch("same", ("same", "reversed"), "order of entities in a sync answer"),
    # every kind of record
    "duplicate_origin_id_status": Switch(422, (422, 400), "POST with an origin_id that is taken"),
    "bad_dates": Switch("null", ("null", "refuse"), "a badly formed date: stored as null, or 400"),
    "inactive_project": Switch("refuse", ("refuse", "accept"), "writes into an inactive project: 403"),
    "vendor_must_be_on_project": Switch(True, (True, False), "costs and commitments of others: 422"),
    "inactive_vendor": Switch("refuse", ("refuse", "accept"), "costs of an inactive vendor: 422 (ours)"),
    # vendors
    "duplicate_vendor_names": Switch("accept", ("accept", "refuse"), "two vendors of one name; refused: 422"),
    # direct costs
    "invoice_number_scope": Switch(
        "project", ("project", "company", "off"), "where a vendor's number is unique"
    ),
    "duplicate_invoice_status": Switch(422, (422, 400, 409), "a number that the vendor has used"),
    "negative_lines": Switch("accept", ("accept", "refuse"), "direct cost lines below zero"),
    "expense_needs_vendor": Switch(
        False, (False, True), "a vendor on costs of the type expense; True: 400 without one"
    ),
    "direct_cost_lock": Switch(
        "never", ("never", "except_origin", "always"), "changes of a direct cost that has an origin_id"
    ),
    "lock_applies_to_sync": Switch(True, (True, False), "the lock holds for sync as for PATCH"),
    "patch_left_out_lines": Switch("keep", ("keep", "delete"), "lines that a v1.1 PATCH does not name"),
    "deleted_direct_cost_status": Switch(404, (404, 200), "GET of a deleted direct cost (ours)"),
    "direct_cost_busy_seconds": Switch(0, None, "409 for a write this soon after another one; 0: never"),
    # budget
    "budget_lag_seconds": Switch(0, None, "budget figures leave out what was created this recently"),
    # commitments, requisitions
    "lock_approved_commitments": Switch(True, (True, False), "lines and vendor of an approved one: 422"),
    "one_open_period": Switch(True, (True, False), "a second open billing period: 422"),
    "requisition_conditions": Switch(
        "refuse",
        ("refuse", "accept"),
        "unapproved commitment, no vendor, invoices off, closed or no period: 422",
    ),
    "billing_date_outside_period": Switch("accept", ("accept", "refuse"), "refused: 422 (ours)"),
    "requisitions_per_period": Switch(
        "many", ("many", "one"), "of one commitment in one period; refused: 422"
    ),
    "requisition_lock": Switch(
        "never", ("never", "except_origin", "always"), "changes of a requisition that has an origin_id"
    ),
    "linked_requisition_deletion": Switch(
        "refuse", ("refuse", "accept"), "deletion while it has an origin_id: 422"
    ),
    "commitments_admin": Switch(
        True, (True, False), "False: only the newest, in draft or revise_and_resubmit"
    ),
    "overbilling": Switch(
        "accept", ("accept", "refuse"), "work above a line's scheduled value; refused: 422"
    ),
    "over_release": Switch(
        "refuse", ("refuse", "accept"), "retainage released above what is held: 422 (ours)"
    ),
    "negative_requisitions": Switch("accept", ("accept", "refuse"), "a negative line; refused: 422"),
    # contract payments
    "contract_payment_lock": Switch(
        "refuse",
        ("refuse", "always", "ignore", "allow"),
        "changes of one with an origin_id: 422, 422 even for the origin_id, fields ignored, allowed",
    ),
    "payments_off_status": Switch(422, (422, 403), "payment on a contract with payments switched off"),
    "payment_status": Switch("paid", ("paid", None), "status of a payment recorded by hand"),
}


class Switches:
    """The values in force."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self.reset()

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def set(self, name: str, value: Any) -> None:
        """Raises ValueError for an unknown name or a value that is no choice."""
        if name not in SWITCHES:
            raise ValueError(f"no switch {name!r}; there are {', '.join(sorted(SWITCHES))}")
        choices = SWITCHES[name].choices
        if choices is None:
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ValueError(f"switch {name} takes a whole number from 0, not {value!r}")
        elif not any(type(value) is type(choice) and value == choice for choice in choices):
            raise ValueError(f"switch {name} takes one of {choices}, not {value!r}")
        self._values[name] = value

    def all(self) -> dict[str, Any]:
        return dict(self._values)

    def reset(self) -> None:
        self._values = {name: switch.default for name, switch in SWITCHES.items()}
