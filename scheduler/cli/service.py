"""`ironfree up` and `serve`: the whole service in one process, until SIGINT or SIGTERM."""

import argparse
import asyncio
import contextlib
import logging
import os
import resource
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import cast

from .. import app
from ..settings import Settings, read_settings
from . import kubeconfig
from .kubeconfig import Target

logger = logging.getLogger(__name__)
_MOST_FILES = 1 << 17


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where the data is. DATABASE_URL is read from the environment only: it is secret."""
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="of the embedded PostgreSQL and the kubeconfig"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_data_arguments(parser)
    parser.add_argument("--listen", metavar="ADDRESS", help="default: 127.0.0.1")
    parser.add_argument("--port", type=int, help="0 takes a free one; default: 7443")
    parser.add_argument("--log-level", metavar="LEVEL", help="DEBUG, INFO, WARNING or ERROR")
    parser.add_argument(
        "--hosts",
        choices=["auto", "docker", "simulated", "none"],
        default="auto",
        help="what to offer when there are no hosts yet: the local Docker engine, else simulated",
    )
    parser.add_argument(
        "--example",
        default="none",
        metavar="NAME|FILE",
        help="applied when there are no pods yet; examples/NAME.yaml, a file, or none",
    )


def override(settings: Settings, arguments: argparse.Namespace) -> Settings:
    """Return the settings with what the command line says."""
    given = {
        name: value
        for name in ("data_dir", "listen", "port", "log_level")
        if (value := getattr(arguments, name, None)) is not None
    }
    return replace(settings, **given)


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop."""
    settings = override(read_settings(os.environ), arguments)
    logging.basicConfig(
        level=settings.log_level,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    _allow_files()
    asyncio.run(_serve(settings, arguments))
    return 0


def _allow_files() -> None:
    """Allow as many open files as may be: a host has three connections, often more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _serve(settings: Settings, arguments: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as running:
        service = asyncio.create_task(app.serve(settings, started := app.Started()))
        stopped = asyncio.create_task(stop.wait())
        running.push_async_callback(_finish, service, stopped)
        ready = asyncio.create_task(started.wait())
        await asyncio.wait([service, stopped, ready], return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if started.url:
            await _announce(settings, arguments, started.url, running)
        await asyncio.wait([service, stopped], return_when=asyncio.FIRST_COMPLETED)


async def _finish(service: asyncio.Task[None], stopped: asyncio.Task[bool]) -> None:
    """Stop the service in good order; its own failure is raised."""
    stopped.cancel()
    service.cancel()
    try:
        await service
    except asyncio.CancelledError:
        logger.info("stopped")


async def _announce(
    settings: Settings,
    arguments: argparse.Namespace,
    url: str,
    running: contextlib.AsyncExitStack,
) -> None:
    kubeconfig.write(settings.data_dir / "kubeconfig", Target(url, token=settings.token))
    print(f"Ironfree serves at {url}", flush=True)
    if arguments.verb == "serve":
        return
    tour = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scheduler", "tour", "--server", url),
        *("--hosts", cast(str, arguments.hosts), "--example", cast(str, arguments.example)),
        stdin=asyncio.subprocess.DEVNULL,
        env=os.environ | {"IRONFREE_DATA_DIR": str(settings.data_dir)},
    )
    running.push_async_callback(_end, tour)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    await process.wait()
