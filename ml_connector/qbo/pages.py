"""Where people see a record in QuickBooks: links for sheets, reports and the UI."""

from ml_connector.qbo.models import Entity

PAGES = {
    Entity.BILL: "bill?txnId=",
    Entity.VENDOR_CREDIT: "vendorcredit?txnId=",
    Entity.PURCHASE: "expense?txnId=",
    Entity.BILL_PAYMENT: "billpayment?txnId=",
    Entity.VENDOR: "vendordetail?nameId=",
}


def page_of(app_url: str, entity: str, qbo_id: str) -> str:
    """The page of a record; `app_url` is where people open the company."""
    return f"{app_url}/{PAGES[Entity(entity)]}{qbo_id}"
