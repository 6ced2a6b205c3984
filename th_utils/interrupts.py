"""Context managers whose entry and exit are never cut short by Ctrl-C.

Python raises KeyboardInterrupt wherever the main thread happens to be: also inside a `finally`, and at the first
instruction of an `__exit__`, where no `try` can catch it. What was to be undone then stays.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps


def uninterrupted(function: Callable[..., AbstractContextManager]) -> Callable[..., AbstractContextManager]:
    """Decorate a function that makes context managers: Ctrl-C acts in the block, and waits while it is entered or left.

    The same holds for whatever sends SIGINT, as the stop button of Jupyter does. An interrupt that has waited acts
    right afterwards, with the block left. Limits: for entries and exits that are short; SIGINT only; and it relies on
    CPython, which looks for signals at calls and jumps backwards, so not between an entry or exit and its block.
    """

    @wraps(function)
    def make(*args, **kwargs):
        return _Uninterrupted(function(*args, **kwargs))

    return make


class _Uninterrupted(AbstractContextManager):
    def __init__(self, manager: AbstractContextManager):
        self.manager, self.outer, self.waiting = manager, None, False

    def __enter__(self):
        handler = signal.getsignal(signal.SIGINT)
        # Other handlers raise nothing, and other threads get no signals.
        if callable(handler) and threading.current_thread() is threading.main_thread():
            self.outer = handler
            signal.signal(signal.SIGINT, self._handle)
        try:
            value = self.manager.__enter__()
        except BaseException:
            self._give_back()
            raise
        try:
            self._deliver()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return value

    def __exit__(self, *error):
        try:
            return self.manager.__exit__(*error)
        finally:
            self._give_back()

    def _give_back(self) -> None:
        if self.outer is not None:
            signal.signal(signal.SIGINT, self.outer)
            self._deliver()

    def _deliver(self) -> None:
        if self.waiting:
            self.waiting = False
            self.outer(signal.SIGINT, sys._getframe())

    def _handle(self, number: int, frame) -> None:
        at = frame
        while at is not None:
            if at.f_code.co_name in ("__enter__", "__exit__") and at.f_locals.get("self") is self:
                self.waiting = True
                return
            at = at.f_back
        self.outer(number, frame)
