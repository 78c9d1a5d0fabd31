"""The `ironfree` command: starts the service and speaks its HTTP API. Holds no logic of its own.

Each verb is a module of its own, imported only when that verb is called, so that a client verb
does not pay for the server's imports. Client modules speak HTTP to the server and nothing else.
"""

from .command_line import main

__all__ = ["main"]
