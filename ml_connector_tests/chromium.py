"""A real browser for tests: headless Chromium, driven over the pipe of its DevTools protocol, without a package for it."""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PROGRAM = shutil.which("chromium")
WHY_NOT = "needs chromium: `make test` as root installs it"
PICTURES_VARIABLE = "ML_CONNECTOR_PICTURES"  # a folder: the walks save their pictures there
LARGEST = 150_000  # bytes of a picture
# Without a browser these tests are skipped and say so; where a machine judges (CI is set) they fail.
needed = pytest.mark.skipif(PROGRAM is None and not os.environ.get("CI"), reason=WHY_NOT)
_QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-sync",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


class Page:
    """The one open page."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._left = b""
        self._number = 0
        self._session = ""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._ask("Page.enable")

    def open(self, address: str) -> None:
        """Go to an address."""
        failed = self._ask("Page.navigate", url=address).get("errorText")
        assert not failed, failed

    def size(self, width: int, height: int) -> None:
        """The window, in pixels."""
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self._ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def text(self) -> str:
        """What a person reads."""
        return str(self.run("document.body ? document.body.innerText : ''"))

    def wait_for(self, words: str, *, seconds: float = 60) -> str:
        """The text of the page, once it has `words`."""
        deadline = time.monotonic() + seconds
        while words not in (shown := self.text()):
            assert time.monotonic() < deadline, f"{words!r} not in {shown!r}"
            time.sleep(0.1)
        return shown

    def wait_until(self, script: str, *, seconds: float = 60) -> Any:
        """The value of a JavaScript expression, once it is true."""
        deadline = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < deadline, f"{script} is not true of {self.text()!r}"
            time.sleep(0.1)
        return value

    def click(self, words: str, *, within: str = "body") -> None:
        """Click the link or button that says `words`, the one that says nothing else first; waits for it to be enabled."""
        said = json.dumps(words)
        self.wait_until(
            f"(() => {{ const all = [...document.querySelectorAll('{within} a, {within} button')];"
            f" const found = all.find(one => one.innerText.trim() === {said})"
            f" ?? all.find(one => one.innerText.includes({said}));"
            " if (found && !found.disabled) found.click(); return !!found && !found.disabled; })()",
            seconds=30,
        )

    def type_into(self, selector: str, words: str) -> None:
        """Replace what stands in an input, and press Enter."""
        self.wait_until(f"!!document.querySelector({json.dumps(selector)})", seconds=30)
        self.run(
            f"(field => {{ field.focus(); field.select(); }})(document.querySelector({json.dumps(selector)}))"
        )
        self._ask("Input.insertText", text=words)
        for kind in ("keyDown", "keyUp"):
            self._ask(
                "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13
            )

    def press(self, key: str, *, alt: bool = False) -> None:
        """Press a letter, with Alt where the page wants it."""
        facts = {"key": key, "code": f"Key{key.upper()}", "windowsVirtualKeyCode": ord(key.upper())}
        for kind in ("rawKeyDown", "keyUp"):
            self._ask("Input.dispatchKeyEvent", type=kind, modifiers=1 if alt else 0, **facts)

    def picture(self, *, height: float | None = None) -> bytes:
        """The page as PNG; with `height` only so much of it from the top."""
        clip = {}
        if height is not None:
            width = self.run("innerWidth")
            clip = {"clip": {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}}
        return base64.b64decode(self._ask("Page.captureScreenshot", format="png", **clip)["data"])

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        asked: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            asked["sessionId"] = self._session
        os.write(self._to, json.dumps(asked).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            got = os.read(self._from, 1 << 16)
            assert got, "the browser has ended"
            self._left += got
        message, _, self._left = self._left.partition(b"\0")
        parsed: dict[str, Any] = json.loads(message)
        return parsed


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A browser with an empty profile in `folder`; it is gone at the end."""
    assert PROGRAM is not None, WHY_NOT
    read_by_it, to_browser = os.pipe()
    from_browser, written_by_it = os.pipe()

    def take_pipes() -> None:
        """The browser reads from 3 and writes to 4."""
        reading, writing = os.dup(read_by_it), os.dup(written_by_it)
        os.dup2(reading, 3)
        os.dup2(writing, 4)

    process = subprocess.Popen(
        [PROGRAM, *_QUIET, f"--user-data-dir={folder / 'profile'}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=take_pipes,  # noqa: PLW1509 four system calls, no lock
        close_fds=False,
        start_new_session=True,
    )
    for end in (read_by_it, written_by_it):
        os.close(end)
    try:
        yield Page(to_browser, from_browser)
    finally:
        process.kill()
        process.wait()
        for end in (to_browser, from_browser):
            os.close(end)
