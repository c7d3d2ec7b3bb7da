"""Network namespaces of Linux: to make one, to do something within it, to move into it. Nothing of it is on disk.

A namespace lives as long as a process, a socket or an open file refers to it, and takes its interfaces with it when
it goes: whatever ends the processes also removes the network between them.
"""

import ctypes
import os
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
"""of <linux/sched.h>"""


def make() -> int:
    """A new network namespace with an interface ``lo``, which is down; returns an open file that keeps it alive.

    Raises OSError where the system does not allow it.
    """

    def begin() -> int:
        _call("unshare", _CLONE_NEWNET)
        for name in ("all", "default"):  # else each interface sends packets of its own accord, to find neighbours
            path = f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6"
            if os.path.exists(path):
                with open(path, "w") as file:
                    file.write("1")
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    return _in_thread(begin)


def enter(namespace: int) -> None:
    """Move the calling thread, and the threads that it starts from now on. Its sockets stay where they were made."""
    _call("setns", namespace, _CLONE_NEWNET)


def within(namespace: int, act: Callable[[], T]) -> T:
    """Do something inside a namespace; the caller stays where it is."""

    def visit() -> T:
        enter(namespace)
        return act()

    return _in_thread(visit)


def _in_thread(act: Callable[[], T]) -> T:
    """A thread of its own, which may live in another namespace than the rest of the process."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(act())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _call(name: str, *arguments: int) -> None:
    """A call of the C library (Python has these from 3.12 on)."""
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
