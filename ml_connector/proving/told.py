"""The proof in words: one JSON document for scripts, rows of money for tables of people. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from ml_connector.money import ZERO
from ml_connector.proving.figures import Compared, Difference, Figures
from ml_connector.proving.proof import Proof
from ml_connector.proving.vendors import VendorPair
from ml_connector.qbo.models import Entity

COLUMNS = ("qbo", "procore", "held", "excluded", "timing", "drift")
OUTSIDE_WORDS = {Entity.PURCHASE: "purchases", Entity.JOURNAL_ENTRY: "journal entries"}


def document_of(proof: Proof) -> dict[str, Any]:
    """The whole proof; money stays Decimal."""
    return {
        "connection": proof.connection,
        "balanced": proof.balanced,
        "at": proof.at,
        "dated_from": proof.start,
        "calls": {"qbo": proof.calls.qbo, "procore": proof.calls.procore},
        "problems": proof.problems(),
        "job_cost": _compared(proof, proof.costs),
        "payments": _compared(proof, proof.payments),
        "retainage_payable": [
            {
                "commitment": row.commitment_id or None,
                "project": row.project,
                "books": row.books,
                "procore": row.procore,
                "by_policy": row.by_policy,
                "held": row.held,
                "excluded": row.excluded,
                "difference": row.difference,
            }
            for row in proof.retainage
        ],
        "vendors": {
            "linked": proof.vendors.linked,
            "only_in_qbo": [_pair(pair) for pair in proof.vendors.only_in_qbo],
            "only_in_procore": [_pair(pair) for pair in proof.vendors.only_in_procore],
            "name_differs": [_pair(pair) for pair in proof.vendors.name_differs],
        },
        "job_cost_outside_the_sync": [
            {
                "record": f"{cost.entity.lower()}:{cost.qbo_id}",
                "number": cost.document,
                "date": cost.txn_date,
                "customer": cost.customer.name,
                "amount": cost.amount,
            }
            for cost in proof.outside
        ],
    }


def project_words(proof: Proof, project: str) -> str:
    """`101 Harbor Clinic`."""
    return f"{project} {proof.names.get(project, '')}".strip() or "no project"


def by_project(proof: Proof, compared: Compared) -> list[tuple[str, Figures]]:
    """The money of each project."""
    sums: dict[str, Figures] = {}
    for (place, _), row in compared.rows.items():
        sums.setdefault(place.project, Figures()).add(row)
    return [(project_words(proof, project), row) for project, row in sorted(sums.items())]


def money_of(row: Figures) -> list[Decimal]:
    """The amounts of a row in the order of `COLUMNS`."""
    return [getattr(row, name) + ZERO for name in COLUMNS]


def open_rows(proof: Proof, compared: Compared) -> Iterator[tuple[str, str, str, Figures]]:
    """Project, code, month and money of the rows in which the two sides are not the same."""
    for (place, month), row in compared.rows.items():
        if row.qbo != row.procore:
            yield project_words(proof, place.project), place.code, month, row


def markdown_of(proof: Proof) -> str:
    """The proof as a Markdown table a project, the sum last."""
    heading = f"| project | {' | '.join(COLUMNS)} |"
    lines = [heading, f"|---|{'--:|' * len(COLUMNS)}"]
    for name, row in [*by_project(proof, proof.costs), ("**all**", proof.costs.total)]:
        lines.append(f"| {_cell(name)} | {' | '.join(f'{amount:,}' for amount in money_of(row))} |")
    return "\n".join(lines)


def markdown_of_problems(problems: Sequence[str], *, first: int) -> str:
    """The first problems as a list."""
    more = [f"- and {len(problems) - first} more"] if len(problems) > first else []
    return "\n".join([*(f"- {_cell(problem)}" for problem in problems[:first]), *more]) or "none"


def outside_words(proof: Proof) -> str:
    """What brings the job cost outside the sync: `purchases and journal entries`."""
    kinds = {cost.entity for cost in proof.outside}
    return " and ".join(words for entity, words in OUTSIDE_WORDS.items() if entity in kinds)


def verdict(proof: Proof) -> str:
    """One sentence."""
    if proof.balanced:
        whole = proof.costs.total
        return (
            f"Balanced to the cent: QBO {whole.qbo:,} = Procore {whole.procore:,} + held {whole.held:,} + excluded "
            f"{whole.excluded:,}."
        )
    problems = proof.problems()
    return f"Not balanced: {len(problems)} difference{'' if len(problems) == 1 else 's'}, drift {proof.costs.total.drift:,}."


def _compared(proof: Proof, compared: Compared) -> dict[str, Any]:
    return {
        "total": _figures(compared.total),
        "rows": [
            {
                "project": place.project,
                "project_name": proof.names.get(place.project, ""),
                "cost_code": place.cost_code,
                "cost_type": place.cost_type,
                "month": month,
                **_figures(row),
            }
            for (place, month), row in compared.rows.items()
        ],
        "differences": [_difference(one) for one in compared.differences],
    }


def _figures(row: Figures) -> dict[str, Decimal]:
    return dict(zip(COLUMNS, money_of(row), strict=True))


def _difference(one: Difference) -> dict[str, Any]:
    return {
        "direction": str(one.direction),
        "record": one.record,
        "number": one.number,
        "vendor": one.vendor,
        "projects": list(one.projects),
        "months": list(one.months),
        "qbo": one.qbo,
        "procore": one.procore,
        "sentence": one.sentence,
    }


def _pair(pair: VendorPair) -> Mapping[str, str]:
    return {
        "qbo_id": pair.qbo_id,
        "qbo_name": pair.qbo_name,
        "procore_id": pair.procore_id,
        "procore_name": pair.procore_name,
    }


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
