"""What Dagster loads: the Definitions of every connection found in ML_CONNECTOR_HOME. Wiring only."""

from ml_connector import logs
from ml_connector.orchestration.build import build_definitions
from ml_connector.settings import home_from, load_connections

logs.configure()
_home = home_from()
defs = build_definitions(_home, load_connections(_home))
