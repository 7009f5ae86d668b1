"""The two rate limits, an hour and ten seconds, and the headers that tell of the nearer one.

Source: rate limit guide. Windows are fixed and start with the first call in them.
"""

from dataclasses import dataclass

from ml_connector.sandbox.procore.switches import Switches
from ml_connector.sandbox.wire import Response

_WINDOWS = (("hourly_limit", 3600), ("spike_limit", 10))


@dataclass
class _Window:
    limit: int
    ends: float
    used: int = 0

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.used)


class Limits:
    """Counts calls by whom the switch `limit_per` names."""

    def __init__(self, switches: Switches) -> None:
        self._switches = switches
        self._windows: dict[tuple[str, str], _Window] = {}

    def spend(self, whom: str, *, now: float) -> tuple[dict[str, str], Response | None]:
        """Headers for the answer, and the 429 when a window is used up; a refused call is not counted."""
        windows = [self._window(name, seconds, whom, now) for name, seconds in _WINDOWS]
        full = [window for window in windows if window.remaining == 0]
        if full:
            return self._refused(max(full, key=lambda window: window.ends), now)
        for window in windows:
            window.used += 1
        return _headers(min(windows, key=lambda window: window.remaining)), None

    def reset(self) -> None:
        self._windows.clear()

    def _window(self, name: str, seconds: int, whom: str, now: float) -> _Window:
        window = self._windows.get((name, whom))
        if window is None or not window.ends - seconds <= now < window.ends:
            window = self._windows[name, whom] = _Window(self._switches[name], now + seconds)
        window.limit = self._switches[name]
        return window

    def _refused(self, window: _Window, now: float) -> tuple[dict[str, str], Response]:
        headers = _headers(window)
        if self._switches["retry_after"]:
            headers["Retry-After"] = str(max(1, int(headers["X-Rate-Limit-Reset"]) - int(now)))
        body = "You have surpassed the max number of requests for your rate limit. Please try again later."
        return headers, Response(429, body, {"Content-Type": "text/plain"}, outcome="rate limit")


def _headers(window: _Window) -> dict[str, str]:
    return {
        "X-Rate-Limit-Limit": str(window.limit),
        "X-Rate-Limit-Remaining": str(window.remaining),
        "X-Rate-Limit-Reset": str(-int(-window.ends // 1)),
    }
