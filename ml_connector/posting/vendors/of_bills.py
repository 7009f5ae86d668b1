"""Vendors of bills on their way: none is billed to while it is inactive in Procore, each is on its project first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ml_connector.errors import PermanentError, ReconnectNeeded
from ml_connector.holds import Hold, Reason
from ml_connector.posting.bill_work import Work
from ml_connector.posting.planning import PlannedBill
from ml_connector.posting.vendors.desk import Links, VendorDesk
from ml_connector.posting.vendors.matching import inactive
from ml_connector.posting.vendors.projects import ProjectVendorDesk


@dataclass(frozen=True)
class BillVendors:
    """Looks after the vendors of bills during one run; nothing is asked of Procore for what is as it should be."""

    desk: VendorDesk

    def check(self, bills: Sequence[PlannedBill], works: Mapping[str, Work], links: Links) -> None:
        """Hold what would be written for vendors that people made inactive in Procore (S86)."""
        sending = [
            (bill.bill.vendor, works[bill.row.qbo_id], links.ids[bill.vendor_id])
            for bill in bills
            if bill.bill is not None and bill.vendor_id in links.ids and _sends(works.get(bill.row.qbo_id))
        ]
        if not sending:
            return
        for vendor, work, _ in sending:
            if vendor.id in links.rows:
                work.told.append(("vendor linked", {"why": links.rows[vendor.id]}))
        try:
            closed = self.desk.inactive_among({there for _, _, there in sending})
        except ReconnectNeeded:
            raise
        except PermanentError as error:
            sentence = (
                f"Procore does not show its inactive vendors ({error}), so bills go without a look at them. "
                "Give the service account the Directory tool of the company."
            )
            sending[0][1].warnings.append((Reason.PERMISSION, sentence))
            return
        for vendor, work, there in sending:
            if there in closed:
                work.holds.append(inactive(vendor.id, vendor.name))

    def put_on_projects(
        self, bills: Sequence[PlannedBill], works: Mapping[str, Work], projects: ProjectVendorDesk
    ) -> None:
        """Put vendors on the projects of direct costs that are to be written; what goes wrong holds their bills."""
        vendor_of = {bill.row.qbo_id: bill.vendor_id for bill in bills if bill.vendor_id is not None}
        sending = [work for work in works.values() if work.open and work.todo]
        places = {
            (vendor_of[work.qbo_id], cost.project_id, int(cost.header["vendor_id"]))
            for work in sending
            for cost in work.todo
            if work.qbo_id in vendor_of
        }
        troubles = projects.put(places)
        for work in sending if troubles else []:
            for cost in work.todo:
                trouble = troubles.get((vendor_of.get(work.qbo_id, ""), cost.project_id))
                if isinstance(trouble, Hold):
                    work.holds.append(trouble)
                elif trouble is not None:
                    work.wait(trouble)


def _sends(work: Work | None) -> bool:
    return work is not None and work.open and bool(work.todo or work.open_invoices)
