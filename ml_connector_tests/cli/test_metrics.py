"""The figures that a monitoring system asks for."""

import signal
import time
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from ml_connector.cli.services import free_port
from ml_connector.store.tables import vault
from ml_connector_tests.cli.conftest import Firm


def test_metrics_tell_what_status_tells_without_money_or_names(books: Firm, tmp_path: Path) -> None:
    port = free_port()
    with books.rig.engine.begin() as db:
        db.execute(update(vault).where(vault.c.system == "qbo").values(state="reconnect_needed"))
    said = tmp_path / "said"
    process = books.shell.start("metrics", "--port", str(port), out=said, err=said)
    until = time.monotonic() + 30
    while "http://" not in said.read_text():
        assert process.poll() is None and time.monotonic() < until, said.read_text()
        time.sleep(0.05)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 0
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["ml_connector_records", "Bill", "acme", "posted"] == 1
    assert found["ml_connector_records", "Bill", "acme", "held"] == 2
    assert found["ml_connector_holds", "UNMAPPED", "acme"] == 2
    assert found["ml_connector_days_to_do", "acme"] == 0
    assert found["ml_connector_unclear_writes", "acme"] == 0
    assert found["ml_connector_connected", "acme", "qbo"] == 0
    assert found["ml_connector_connected", "acme", "procore"] == 1
    assert found["ml_connector_alarm", "acme", "reconnect:qbo"] == 1
    assert found["ml_connector_read_to_timestamp_seconds", "acme"] > 1_700_000_000
    assert "Granite" not in text
