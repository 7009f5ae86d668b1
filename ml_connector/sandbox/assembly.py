"""Puts one server together: vendor, records, clock, journal, faults, control. One folder holds its state."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ml_connector.sandbox.clock import Clock
from ml_connector.sandbox.control import Action, Control
from ml_connector.sandbox.faults import FaultBook
from ml_connector.sandbox.imitation import Imitation
from ml_connector.sandbox.journal import Journal
from ml_connector.sandbox.qbo.vendor import QboVendor
from ml_connector.sandbox.records import Records
from ml_connector.sandbox.server import VendorServer
from ml_connector.sandbox.webhooks import Webhooks
from ml_connector.sandbox.wire import Request, Response, Vendor

AnyVendor = TypeVar("AnyVendor", bound=Vendor)


def open_server(
    make: Callable[[Records, Clock], AnyVendor],
    *,
    name: str,
    directory: Path,
    port: int = 0,
    seed: str = "empty",
    webhooks: Webhooks | None = None,
    deeds: Callable[[AnyVendor], Mapping[str, Action]] = lambda vendor: {},
) -> VendorServer:
    """A server ready to `start`. State that `directory` already holds is taken up; only a new one is seeded.

    `deeds` are control routes of the vendor's own that change records. Raises OSError when the port is taken,
    ValueError for an unknown seed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    records = Records(directory / f"{name}.sqlite")
    clock = Clock(directory / f"{name}-clock.json")
    vendor = make(records, clock)
    if not records.kinds():
        _seed(vendor, seed)
        records.commit()
    imitation = Imitation(
        vendor=vendor,
        records=records,
        clock=clock,
        journal=Journal(directory / f"{name}.jsonl", vendor=name),
        faults=FaultBook(clock, vendor.refusal),
        webhooks=webhooks,
    )

    def reseed(wanted: str) -> None:
        if webhooks is not None:
            webhooks.forget()
        _seed(vendor, wanted)

    routes = {} if webhooks is None else _webhook_routes(webhooks)
    control = Control(imitation, seed=reseed, routes=routes, deeds=deeds(vendor))
    return VendorServer(imitation, control=control, port=port)


def open_qbo(*, directory: Path, port: int = 0, seed: str = "empty") -> VendorServer:
    """The QuickBooks server with its webhooks; as `open_server`."""
    directory.mkdir(parents=True, exist_ok=True)
    webhooks = Webhooks(directory / "qbo-webhooks.json")

    def make(records: Records, clock: Clock) -> QboVendor:
        vendor = QboVendor(records, clock)
        vendor.announce = webhooks.announce
        return vendor

    return open_server(
        make,
        name="qbo",
        directory=directory,
        port=port,
        seed=seed,
        webhooks=webhooks,
        deeds=lambda vendor: {"POST merge": vendor.merge},
    )


def _webhook_routes(webhooks: Webhooks) -> Mapping[str, Action]:
    return {
        "GET webhooks": lambda _: webhooks.state(),
        "POST webhooks": webhooks.set,
        "POST webhooks/flush": lambda _: webhooks.flush(),
    }


def _seed(vendor: Vendor, seed: str) -> None:
    if seed not in ("empty", "demo"):
        raise ValueError("seed is empty or demo")
    vendor.reset(seed)
    if seed == "demo":
        from ml_connector.sandbox.demo.firm import load_reference, this_day  # noqa: PLC0415 - only this seed

        absent = _Absent()
        load_reference(
            vendor if vendor.name == "qbo" else absent,
            vendor if vendor.name == "procore" else absent,
            today=this_day(),
        )


class _Absent:
    """Stands for the vendor that another server holds: what is loaded into it goes nowhere."""

    name = "absent"

    def handle(self, request: Request) -> Response:
        return Response(404)

    def load(self, payload: Mapping[str, Any]) -> int:
        return 0

    def live(self, kind: str) -> list[dict[str, Any]]:
        return []

    def switch(self, name: str, value: Any) -> None:
        return

    def switches(self) -> dict[str, Any]:
        return {}

    def refusal(self, status: int) -> Response:
        return Response(status)

    def reset(self, seed: str) -> None:
        return
