"""The pictures of a real demo in docs/images: `python -m tests.browser.pictures docs/images`.

Takes three minutes. Needs a chromium on the PATH.
"""

import argparse
import io
import os
import re
import shutil
import signal
import subprocess
import sys
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
COLUMNS = 110
ADDRESS = re.compile(r"^open +(http://\S+)/$")


def open_pages(browser: Browser, address: str) -> dict[str, Page]:
    """The worker's page in each of the screens; an open page draws its curves from then on."""
    pages = {}
    for width, scheme in SCREENS:
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.goto(address)
        pages[f"{width}-{scheme}"] = page
    return pages


def draw_terminal(address: str, file: Path) -> None:
    """`tagstream top` as the terminal shows it, as SVG."""
    host = address.removeprefix("http://")
    command = (sys.executable, "-m", "stream.cli.main", "top", "--once", host)
    environ = os.environ | {"FORCE_COLOR": "1", "COLUMNS": str(COLUMNS)}
    shown = subprocess.run(command, env=environ, stdout=subprocess.PIPE, text=True, check=True).stdout
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(shown))
    console.save_svg(str(file), title="tagstream top")


def main() -> None:
    """Run the demo and take its pictures at the two moments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    command = (sys.executable, "-m", "stream.cli.main", "demo")
    environ = os.environ | {"TAGSTREAM_METRICS_PORT": "0"}
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"]) as browser,
        subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as demo,
    ):
        assert demo.stdout is not None
        address = next(found[1] for line in demo.stdout if (found := ADDRESS.match(line)))
        pages = open_pages(browser, address)
        started = time.monotonic()
        for moment, second in MOMENTS.items():
            while time.monotonic() < started + second:
                demo.stdout.readline()
            for screen, page in pages.items():
                page.screenshot(path=folder / f"demo-{moment}-{screen}.png", full_page=True)
        draw_terminal(address, folder / "terminal.svg")
        demo.send_signal(signal.SIGINT)
        demo.stdout.read()


if __name__ == "__main__":
    main()
