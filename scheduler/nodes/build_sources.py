"""What images are built of, as archives that engines take."""

import asyncio
import io
import tarfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import SourceUnavailable
from ..objects.image_build import DockerfileSource, GitSource, ImageBuild
from ..store.store import Store
from .git_source import GitLogin, git_context, git_login
from .registry_logins import RegistryLogins
from .workplaces import sweep, workplace

_READ = 1 << 20
_DOCKERFILE = "Dockerfile"


@dataclass(frozen=True, slots=True)
class Context:
    """An archive, and the Dockerfile's path in it."""

    archive: AsyncIterator[bytes]
    dockerfile: str = _DOCKERFILE


class BuildSources:
    """One per leader."""

    def __init__(self, store: Store, logins: RegistryLogins) -> None:
        self._store = store
        self._logins = logins

    async def tidy(self) -> None:
        """Remove what processes of this user that were killed have left here."""
        await asyncio.to_thread(sweep)

    @asynccontextmanager
    async def open(self, build: ImageBuild, said: Callable[[str], None]) -> AsyncGenerator[Context]:
        """Have the context of a build, which is not a commit.

        Args:
            said: is told what belongs into the build's log.

        Raises:
            SourceUnavailable: says why.
        """
        spec = build.spec
        if spec.dockerfile is not None:
            yield Context(_one(inline_archive(spec.dockerfile)))
        elif spec.upload is not None:
            kept = self._store.context_of(build.meta.uid)
            yield Context(kept, spec.upload.dockerfile)
        else:
            assert spec.git is not None
            login = await self._login(build.meta.namespace, spec.git)
            async with _workplace() as directory:
                try:
                    found = await git_context(spec.git, login, directory)
                except OSError as error:
                    raise _no_room(error) from error
                said(f"commit {found.commit} of {spec.git.url}")
                yield Context(_read(found.archive), spec.git.dockerfile)

    async def _login(self, namespace: str, source: GitSource) -> GitLogin | None:
        if not source.secret_name:
            return None
        found = await self._logins.secret(namespace, source.secret_name)
        if found is None:
            name = f"{namespace}/{source.secret_name}"
            raise SourceUnavailable("SecretNotFound", f'secret "{name}" not found')
        return git_login(source, *found)


def inline_archive(source: DockerfileSource) -> bytes:
    """Return a Dockerfile and the files beside it as a tar archive; equal sources, equal bytes."""
    files = {**source.files, _DOCKERFILE: source.text}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path in sorted(files):
            content = files[path].encode()
            member = tarfile.TarInfo(path)
            member.mode, member.size = 0o644, len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@asynccontextmanager
async def _workplace() -> AsyncGenerator[Path]:
    place = workplace()
    try:
        directory = await asyncio.to_thread(place.__enter__)
    except OSError as error:
        raise _no_room(error) from error
    try:
        yield directory
    finally:
        await asyncio.to_thread(place.__exit__, None, None, None)


def _no_room(error: OSError) -> SourceUnavailable:
    words = f"there is no place to work in: {error.strerror or error}"
    return SourceUnavailable("GitFailed", words)


async def _one(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _read(path: Path) -> AsyncIterator[bytes]:
    file = await asyncio.to_thread(path.open, "rb")
    try:
        while part := await asyncio.to_thread(file.read, _READ):
            yield part
    finally:
        file.close()
