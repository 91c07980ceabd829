"""A signal that means stop ends a block in order, and waits while a process is being started."""

import signal
import subprocess
import sys

import pytest

from secure_platform.web.signals import STOP_SIGNALS, stopped_by_signals, undisturbed


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_within_an_undisturbed_block_acts_at_its_end(number: signal.Signals) -> None:
    reached = []
    before = signal.getsignal(number)
    with stopped_by_signals():
        with undisturbed():
            signal.raise_signal(number)
            signal.raise_signal(number)
            reached.append("within")
        reached.append("after")
    assert reached == ["within"]
    assert signal.getsignal(number) is before


def test_without_a_signal_nothing_is_cut_short() -> None:
    reached = []
    with stopped_by_signals():
        with undisturbed():
            reached.append("within")
        reached.append("after")
    assert reached == ["within", "after"]


def test_a_process_started_in_an_undisturbed_block_hears_the_signals() -> None:
    with undisturbed():
        started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    started.terminate()
    assert started.wait(30) == -signal.SIGTERM
