"""Serves the live page on this machine until it is interrupted."""

import errno
import secrets
import socket
import threading
import time
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import uvicorn

from manyhands.errors import UserError
from manyhands.ui.launching import Job
from manyhands.ui.server import Application

LOOPBACK = "127.0.0.1"
PORTS = 50
"""that are tried, one after another, where the first is taken"""


class Server(uvicorn.Server):
    """Serves an application on a socket that is bound already."""

    def __init__(self, application: Application, token: str, port: int) -> None:
        config = uvicorn.Config(
            application.guarded(token, port),
            log_level="warning",
            lifespan="on",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        super().__init__(config)
        self._watch = application.watch

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._watch.close()  # browsers would listen for ever
        super().handle_exit(sig, frame)


def bind(port: int) -> socket.socket:
    """A socket on loopback alone, at this port or, if that is taken, one of the next; 0 takes any that is free."""
    for candidate in [port] if port == 0 else range(port, min(port + PORTS, 65536)):
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((LOOPBACK, candidate))
            bound.listen()
        except OSError as error:
            bound.close()
            if error.errno != errno.EADDRINUSE:
                raise UserError(f"--port {candidate} cannot be used ({error.strerror}): choose another, or 0") from None
        else:
            return bound
    raise UserError(f"--port {port} is taken, and so are the next {PORTS - 1}: choose another, or 0")


def serve(
    application: Application,
    port: int,
    *,
    token: str | None = None,
    tell: Callable[[str], None],
    open_browser: bool = False,
) -> list[Job]:
    """Serve until interrupted; returns the commands that had to be interrupted too. ``tell`` is given the address."""
    token = token or secrets.token_urlsafe(24)
    with bind(port) as listener:
        taken = listener.getsockname()[1]
        if port not in (0, taken):
            tell(f"port {port} is taken: this is on {taken}")
        address = f"http://{LOOPBACK}:{taken}/?token={token}"
        server = Server(application, token, taken)
        tell(address)
        if open_browser:
            threading.Thread(target=_open, args=(server, address), daemon=True).start()
        with suppress(KeyboardInterrupt):  # which uvicorn raises again after it has ended
            server.run(sockets=[listener])
    return [job for job in application.launcher.jobs.values() if job.interrupted]


def _open(server: Server, address: str) -> None:
    while not server.started and not server.should_exit:
        time.sleep(0.05)
    webbrowser.open(address)
