"""`metrics`: figures for Prometheus on this machine."""

import signal
import threading
from typing import Annotated

import typer
from rich.console import Console

from ml_connector.cli.site import open_site
from ml_connector.settings import load_connections


def metrics(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 9464,
) -> None:
    """Serve figures for Prometheus on this machine until Ctrl-C: records, holds, ages, days to do, troubles."""
    from prometheus_client import CollectorRegistry, start_http_server

    from ml_connector.cli.services import must_be_free
    from ml_connector.watching.metrics import Books

    must_be_free(port, "--port")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with open_site() as site, site.engine() as engine:
        registry = CollectorRegistry()
        registry.register(Books(engine, lambda: load_connections(site.home)))
        server, thread = start_http_server(port, addr="127.0.0.1", registry=registry)
        Console(stderr=True).print(f"http://127.0.0.1:{port}/metrics")
        ended.wait()
        server.shutdown()
        thread.join()
        server.server_close()
