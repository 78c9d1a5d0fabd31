"""Contexts from repositories: which commit, which files, as whom, and what is refused."""

import asyncio
import os
import tarfile

import pytest

from scheduler.errors import SourceUnavailable
from scheduler.nodes import git_source
from scheduler.nodes.git_source import GitLogin, git_context, git_login
from scheduler.objects.image_build import GitSource
from tests.git_server import ACCOUNT, commit, git, git_server


@pytest.fixture
def served(tmp_path):
    with git_server(tmp_path / "served") as server:
        yield server


@pytest.fixture
def work(tmp_path):
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def files(context):
    with tarfile.open(context.archive) as archive:
        return {m.name: archive.extractfile(m).read().decode() for m in archive if m.isfile()}


async def test_a_branch_a_tag_and_head_are_what_they_are_there(served, work):
    repository = served.root / "app"
    first = commit(repository, {"Dockerfile": "FROM one\n"})
    git(repository, "tag", "v1")
    second = commit(repository, {"Dockerfile": "FROM two\n"})
    git(repository, "checkout", "-q", "-b", "side/line")
    third = commit(repository, {"Dockerfile": "FROM three\n"})
    git(repository, "checkout", "-q", "main")
    for number, (ref, wanted, text) in enumerate(
        [("v1", first, "one"), ("", second, "two"), ("side/line", third, "three")]
    ):
        (work / str(number)).mkdir()
        source = GitSource(url=f"{served.url}/app", ref=ref)
        found = await git_context(source, None, work / str(number))
        assert found.commit == wanted
        assert files(found) == {"Dockerfile": f"FROM {text}\n"}


async def test_a_directory_is_the_context_with_all_its_files_as_they_are(served, work):
    inner = {
        "app/Dockerfile": "FROM x\n",
        "app/kept": "$Format:%H$",
        "app/.gitattributes": "kept export-subst\nDockerfile export-ignore\n",
        "other": "not in it",
    }
    commit(served.root / "app", inner)
    found = await git_context(GitSource(url=f"{served.url}/app", directory="app"), None, work)
    assert files(found) == {
        "Dockerfile": "FROM x\n",
        "kept": "$Format:%H$",
        ".gitattributes": inner["app/.gitattributes"],
    }


async def test_a_login_is_used_and_shows_in_nothing(served, work, monkeypatch):
    commit(served.root / "app", {"Dockerfile": "FROM x\n"})
    served.private = True
    user, word = ACCOUNT
    source = GitSource(url=f"{served.url}/app", secret_name="login")
    data = {"username": user.encode(), "password": word.encode()}
    login = git_login(source, "kubernetes.io/basic-auth", data)
    seen = []
    start = asyncio.create_subprocess_exec

    async def watched(*words, **options):
        seen.append(f"{words} {options['env']}")
        return await start(*words, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", watched)
    (work / "a").mkdir()
    assert files(await git_context(source, login, work / "a")) == {"Dockerfile": "FROM x\n"}
    (work / "b").mkdir()
    with pytest.raises(SourceUnavailable) as failure:
        await git_context(source, GitLogin("nobody", "hush hush"), work / "b")
    said = " ".join([*seen, repr(login), repr(failure.value)])
    assert len(seen) == 6
    assert word not in said
    assert "hush" not in said
    assert (work / "a" / "logins").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("ref", "directory", "said"),
    [("absent", "", "couldn't find remote ref"), ("", "absent", "absent")],
)
async def test_what_is_not_there_is_told_in_gits_words(served, work, ref, directory, said):
    commit(served.root / "app", {"Dockerfile": "FROM x\n"})
    source = GitSource(url=f"{served.url}/app", ref=ref, directory=directory)
    with pytest.raises(SourceUnavailable, match=said) as failure:
        await git_context(source, None, work)
    assert failure.value.reason == "GitFailed"


async def test_no_redirect_is_followed(served, work, tmp_path):
    with git_server(tmp_path / "elsewhere") as other:
        commit(other.root / "app", {"Dockerfile": "FROM x\n"})
        served.redirect = other.url
        with pytest.raises(SourceUnavailable):
            await git_context(GitSource(url=f"{served.url}/app"), None, work)
        assert served.asked
        assert other.asked == []


async def test_a_large_repository_or_context_is_refused(served, work, monkeypatch):
    noise = os.urandom(60_000).hex()
    commit(served.root / "app", {"Dockerfile": "FROM x\n", "large": noise})
    source = GitSource(url=f"{served.url}/app")
    for limit in "_MOST_FETCHED", "MOST_CONTEXT":
        (work / limit).mkdir()
        with monkeypatch.context() as patch:
            patch.setattr(git_source, limit, 1 << 15)
            with pytest.raises(SourceUnavailable, match="larger than"):
                await git_context(source, None, work / limit)


async def test_a_cancelled_fetch_ends_its_processes(work):
    async def silent(reader, writer):
        came.set()
        await reader.read()
        ended.set()
        writer.close()

    came, ended = asyncio.Event(), asyncio.Event()
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    fetch = asyncio.create_task(
        git_context(GitSource(url=f"http://127.0.0.1:{port}/app"), None, work)
    )
    try:
        async with asyncio.timeout(20):
            await came.wait()
            fetch.cancel()
            with pytest.raises(asyncio.CancelledError):
                await fetch
            await ended.wait()
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("url", "kind", "data"),
    [
        ("https://h/r", "kubernetes.io/ssh-auth", {"ssh-privatekey": b"k"}),
        ("ssh://git@h/r", "kubernetes.io/basic-auth", {"password": b"p"}),
        ("https://h/r", "kubernetes.io/basic-auth", {"username": b"u"}),
        ("https://h/r", "kubernetes.io/basic-auth", {"password": b"\xff"}),
        ("https://h/r", "Opaque", {"username": b"u", "password": b"p"}),
    ],
)
def test_a_secret_must_go_with_the_url(url, kind, data):
    with pytest.raises(SourceUnavailable) as failure:
        git_login(GitSource(url=url, secret_name="s"), kind, data)
    assert failure.value.reason == "InvalidSecret"


async def test_ssh_gets_its_key_in_a_file_of_its_own(work):
    source = GitSource(url="ssh://git@127.0.0.1:1/r", secret_name="s")
    login = git_login(
        source, "kubernetes.io/ssh-auth", {"ssh-privatekey": b"hush", "known_hosts": b"h key"}
    )
    with pytest.raises(SourceUnavailable, match="git fetch"):
        await git_context(source, login, work)
    assert (work / "key").read_bytes() == b"hush\n"
    assert (work / "key").stat().st_mode & 0o777 == 0o600
    assert (work / "hosts").read_bytes() == b"h key"
