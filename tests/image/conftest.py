"""Containers of the built images, in a network of their own."""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
from collections.abc import Callable, Iterator

import pytest

from running import Container, end_all

sys.dont_write_bytecode = True
SIOCSIFFLAGS, UP_AND_RUNNING = 0x8914, 0x41


def pytest_configure() -> None:
    # `unshare --net` gives a loopback that is down.
    with socket.socket() as any_socket:
        try:
            fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", UP_AND_RUNNING))
        except PermissionError:
            pass


figures: list[str] = []


@pytest.fixture
def tell() -> Callable[[str], None]:
    """Says a figure at the end, however the tests go."""
    return figures.append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for figure in figures:
        terminalreporter.write_line(figure)


@pytest.fixture
def start() -> Iterator[type[Container]]:
    """Starts containers that end with the test."""
    yield Container
    end_all()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    report = (yield).get_result()
    if report.failed:
        for container in Container.started:
            report.sections.append((f"what {container.name} printed", container.log()[-3000:]))
