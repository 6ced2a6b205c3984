"""A conftest.py that records the peak memory of each test's processes in the report, beside the notebooks (build.py).

nbmake starts one kernel for each notebook, as a child of the process that runs the test; this asks the system about all
children four times a second. Linux tells the highest memory a process ever had; elsewhere short peaks are missed.
"""

import threading
from pathlib import Path

import psutil
import pytest

EVERY = 0.25  # seconds
NAME = "peak MB"  # of the property in the report


def memory(process: psutil.Process) -> float:
    """MB of one process: its highest ever where the system keeps that, else what it has now."""
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    try:
        return process.memory_info().rss / 2**20
    except psutil.Error:  # it has ended
        return 0.0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    highest, done = [0.0], threading.Event()

    def watch():
        while not done.wait(EVERY):
            highest[0] = max([highest[0], *map(memory, psutil.Process().children(recursive=True))])

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        return (yield)
    finally:
        done.set()
        watcher.join()
        item.user_properties.append((NAME, round(highest[0])))
