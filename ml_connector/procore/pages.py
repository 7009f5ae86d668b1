"""Where people see records in Procore: links for the UI. Its reference documents no pages; these are the web app's own."""


def direct_cost_page(app_url: str, project_id: str, procore_id: int) -> str:
    """The page of a direct cost; `app_url` is where people open the company."""
    return f"{app_url}/{project_id}/project/direct_costs/{procore_id}"


def commitments_page(app_url: str, project_id: str) -> str:
    """The project's commitments: invoices and payments stand on the tabs of each."""
    return f"{app_url}/{project_id}/project/commitments"
