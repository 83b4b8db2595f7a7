"""Looks at report.html in headless Chromium: wide and narrow, light and dark.

python3 tests/browser/report.py RUN/report.html [FOLDER FOR THE PICTURES]
"""

import pathlib
import sys

from driver import Browser


def main():
    page = pathlib.Path(sys.argv[1]).resolve()
    pictures = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else page.parent)
    browser = Browser()
    try:
        for name, width, dark in [("wide", 1200, False), ("narrow", 390, True), ("wide", 1200, True), ("narrow", 390, False)]:
            browser.look(width, 900, dark, mobile=width < 500)
            browser.open(page.as_uri())
            browser.check()
            loaded = browser.run("return performance.getEntriesByType('resource').map(e => e.name)")
            assert all(address.startswith("data:") for address in loaded), f"the network is asked: {loaded}"
            scripts = browser.run("return document.scripts.length")
            assert scripts == 0, "a page that runs no code"
            headings = browser.run("return [...document.querySelectorAll('h2')].map(e => e.textContent)")
            for due in ["Learning", "Confusion", "The most confident mistakes", "Configuration", "The tape"]:
                assert due in headings, f"{due} is not among {headings}"
            browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
            browser.check()
            browser.run("document.querySelectorAll('details').forEach(d => d.open = false)")
            path = pictures / f"report-{name}-{'dark' if dark else 'light'}.png"
            browser.picture(path)
            print(path)
    finally:
        browser.close()


main()
