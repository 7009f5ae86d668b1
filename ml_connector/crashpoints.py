"""Kill points: places at which a test may kill the own process, to show that what comes after holds. Inert elsewhere."""

import os
import signal

VARIABLE = "ML_CONNECTOR_CRASHPOINT"  # "K5:2" kills at the second pass of K5
_passes: dict[str, int] = {}


def crashpoint(name: str) -> None:
    """Kill this process with SIGKILL when the environment names this point and pass, in test mode only."""
    wanted = os.environ.get(VARIABLE)
    if wanted is None or os.environ.get("ML_CONNECTOR_TEST_MODE") != "1":
        return
    point, _, nth = wanted.partition(":")
    if point == name:
        _passes[name] = _passes.get(name, 0) + 1
        if _passes[name] == int(nth or "1"):
            os.kill(os.getpid(), signal.SIGKILL)
