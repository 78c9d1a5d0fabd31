"""`ironfree migrate`: brings the database's schema to this version."""

import argparse
import asyncio
import os

from .. import app
from ..settings import read_settings
from .service import add_data_arguments, override


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add_data_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Migrate and say so."""
    from_environment = read_settings(os.environ)
    asyncio.run(app.migrate(override(from_environment, arguments)))
    print("The schema is current.")
    return 0
