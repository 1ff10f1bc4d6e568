"""The pictures of a real demo in docs/images: `python -m tests.browser.pictures docs/images`.

Takes three minutes. Needs a chromium on the PATH.
"""

import argparse
import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console
from rich.text import Text

# Seconds of the demo: the first is before its drift begins, the second after all of the last minute has drifted.
MOMENTS = {"healthy": 70.0, "drifting": 150.0}
# Width in pixels and colours: a desktop and a phone.
SCREENS: tuple[tuple[int, Literal["light", "dark"]], ...] = ((1440, "light"), (390, "dark"))
COLUMNS, LINES = 110, 44
START_SECONDS = 120.0
CURSOR_HOME = "\x1b[H"


class Terminal:
    """A pseudo terminal that remembers all that was written to it."""

    def __init__(self) -> None:
        """Open it; a thread reads until the last writer has closed it."""
        self._leader, self.follower = os.openpty()
        self._written = bytearray()
        threading.Thread(target=self._read, daemon=True).start()

    def frame(self) -> str:
        """The last frame that was drawn to its end; each begins by moving the cursor to the upper left corner."""
        return bytes(self._written).decode(errors="replace").split(CURSOR_HOME)[-2]

    def save(self, file: Path) -> None:
        """The last frame as SVG, without the fonts that rich would load from the network."""
        console = Console(record=True, width=COLUMNS, file=io.StringIO())
        console.print(Text.from_ansi(self.frame().replace("\r", "")))
        drawn = console.export_svg(title="make demo")
        file.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL), encoding="utf-8")

    def _read(self) -> None:
        while True:
            try:
                self._written += os.read(self._leader, 65_536)
            except OSError:
                return


def free_port() -> int:
    """A port of this machine that no process listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def wait_for_port(port: int) -> None:
    """Return as soon as a process listens on it."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    msg = f"no process listened on port {port} within {START_SECONDS:g} s"
    raise TimeoutError(msg)


def open_pages(browser: Browser, address: str) -> dict[str, Page]:
    """The worker's page in each of the screens; an open page draws its curves from then on."""
    pages = {}
    for width, scheme in SCREENS:
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.goto(address)
        pages[f"{width}-{scheme}"] = page
    return pages


def main() -> None:
    """Run the demo and take its pictures at the two moments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    port = free_port()
    terminal = Terminal()
    command = (sys.executable, "-m", "tagstream.stream.cli.main", "demo")
    environ = os.environ | {
        "TAGSTREAM_METRICS_PORT": str(port),
        "TERM": "xterm-256color",
        "COLUMNS": str(COLUMNS),
        "LINES": str(LINES),
    }
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"]) as browser,
        subprocess.Popen(command, env=environ, stdout=terminal.follower) as demo,
    ):
        wait_for_port(port)
        pages = open_pages(browser, f"http://127.0.0.1:{port}/")
        started = time.monotonic()
        for moment, second in MOMENTS.items():
            # An open page goes on only while the browser's driver runs.
            next(iter(pages.values())).wait_for_timeout(1000 * (started + second - time.monotonic()))
            for screen, page in pages.items():
                page.screenshot(path=folder / f"demo-{moment}-{screen}.png", full_page=True)
        terminal.save(folder / "terminal.svg")
        demo.send_signal(signal.SIGINT)


if __name__ == "__main__":
    main()
