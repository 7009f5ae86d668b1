"""Batch: up to 30 independent operations in one call, each with its own answer or fault, always HTTP 200."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from ml_connector.sandbox.qbo import query
from ml_connector.sandbox.qbo.company import Company
from ml_connector.sandbox.qbo.entities import Writer
from ml_connector.sandbox.qbo.refusals import Refusal, missing
from ml_connector.sandbox.qbo.schema import BY_LOWER

_MOST_ITEMS = 30
_NO_ENTITY = frozenset({"bId", "operation", "optionsData", "Query"})


def run_batch(
    body: Any,
    *,
    company: Company,
    writer: Writer,
    at: datetime,
    injected: Mapping[str, Any],
    dressed: Callable[[Any], Any],
) -> list[dict[str, Any]]:
    """The items of `BatchItemResponse`. Raises Refusal 1040 over 30 items, 2020 without a list of items.

    `injected` is the args of a batch_item_fault: {index, code} makes that item (from 0) fail, undone.
    """
    items = body.get("BatchItemRequest") if isinstance(body, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise missing("BatchItemRequest")
    if len(items) > _MOST_ITEMS:
        raise Refusal("1040", f"The maximum number of batch items is {_MOST_ITEMS}.")
    answers = []
    for place, item in enumerate(items):
        try:
            if injected and place == int(injected["index"]):
                code = str(injected["code"])
                raise Refusal(code, str(injected.get("detail", "System Failure Error")))
            answer = _item(item, company=company, writer=writer, at=at, dressed=dressed)
        except Refusal as refusal:
            answer = {"Fault": refusal.fault()}
        answers.append({**answer, "bId": item.get("bId")})
    return answers


def _item(
    item: Mapping[str, Any],
    *,
    company: Company,
    writer: Writer,
    at: datetime,
    dressed: Callable[[Any], Any],
) -> dict[str, Any]:
    if "Query" in item:
        return {"QueryResponse": dressed(query.run(query.parse(str(item["Query"])), company))}
    names = [name for name in item if name not in _NO_ENTITY]
    entity = BY_LOWER.get(names[0].lower()) if len(names) == 1 else None
    if entity is None or not isinstance(item[names[0]], dict):
        raise Refusal("2010", "Batch item needs one entity or a Query")
    operation, include = str(item.get("operation", "")), str(item.get("optionsData", ""))
    options = {"operation": operation, "include": include}
    outcome = writer.write(entity, item[names[0]], options=options, at=at)
    return {outcome.entity: dressed(outcome.body)}
