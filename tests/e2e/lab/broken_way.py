"""A way to a registry that breaks in the middle: a TCP relay with a fault."""

import contextlib
import socket
import threading


class BrokenWay:
    """Passes on to a registry; once `limit` bytes have come from it, breaks off all there is.

    After that nobody gets through until `mend`. Use it as a context manager.
    """

    def __init__(self, registry: str, port: int, limit: int) -> None:
        host, _, target = registry.partition(":")
        self.address = f"{host}:{port}"
        self._target = (host, int(target))
        self._left: int | None = limit
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((host, port))
        self.broken = threading.Event()

    def __enter__(self) -> "BrokenWay":
        self._spawn(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._break()
        for thread in self._threads:
            thread.join(10)

    def mend(self) -> None:
        """Let everything through from now on."""
        with self._lock:
            self._left = None

    def _spawn(self, target, *arguments) -> None:
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._left is not None and self._left <= 0:
                client.close()
                continue
            server = socket.create_connection(self._target)
            with self._lock:
                self._sockets |= {client, server}
            self._spawn(self._pump, client, server, False)
            self._spawn(self._pump, server, client, True)

    def _pump(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(16384):
                if counted and self._spent(len(data)):
                    self._break()
                    break
                sink.sendall(data)
        self._end(source, sink)

    def _spent(self, size: int) -> bool:
        with self._lock:
            if self._left is None:
                return False
            self._left -= size
            return self._left <= 0

    def _break(self) -> None:
        self.broken.set()
        with self._lock:
            sockets = tuple(self._sockets)
        self._end(*sockets)

    def _end(self, *sockets: socket.socket) -> None:
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
            with self._lock:
                self._sockets.discard(each)
