"""Lets a test stand between the store and the commits it makes."""

from scheduler.store import statements


def route_commits(monkeypatch, through):
    """Make every commit by `await through(connection, revision, commit)`, its last revision given;
    commit() makes it, whichever of its two ways it goes."""

    def routed(real):
        async def commit(connection, *args):
            return await through(connection, args[-1].revision, lambda: real(connection, *args))

        return commit

    for name in ("commit", "commit_at_once"):
        monkeypatch.setattr(statements, name, routed(getattr(statements, name)))
