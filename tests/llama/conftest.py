"""Shows what the proxy printed when a test fails."""

from __future__ import annotations

import signal
import sys

import pytest

from processes import Process

proxies: list[Process] = []


def pytest_configure() -> None:
    # Ended from outside, the fixtures still stop what they started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    report = (yield).get_result()
    if report.failed:
        report.sections.extend(("what the proxy printed", proxy.output()[-3000:]) for proxy in proxies)
