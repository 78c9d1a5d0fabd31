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


def lose_first_commit(monkeypatch, *, committed):
    """Lose the connection with the next commit, after or before PostgreSQL did it; return a list
    that will have its last revision."""
    lost = []

    async def through(connection, revision, commit):
        if lost:
            return await commit()
        lost.append(revision)
        if committed:
            await commit()
        connection.terminate()
        raise ConnectionResetError("lost")

    route_commits(monkeypatch, through)
    return lost
