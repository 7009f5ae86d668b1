"""`keys rotate` and `keys make`: the keys that seal the stored credentials."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ml_connector.cli.output import AsJson, counted, show
from ml_connector.cli.person import system_account
from ml_connector.cli.site import open_site
from ml_connector.errors import SetupError
from ml_connector.settings import home_from
from ml_connector.store.key_sources import KeyFile, key_source
from ml_connector.store.keys import make_key_ring
from ml_connector.store.rotation import rotate as rotate_keys

app = typer.Typer(help="The keys that seal the stored credentials.", no_args_is_help=True)


@app.command()
def rotate(as_json: AsJson = False) -> None:
    """Seal all stored credentials under a new key while everything runs, and remove the old one.

    A ring that stands in the environment or comes from a command is changed there first: its current key is taken.
    """
    with open_site() as site, site.engine() as engine:
        source = key_source(site.home)
        done = rotate_keys(engine, source, rescue_folder=site.home.keys.parent, by=system_account())
    document = {"key": done.key_id, "credential_sets": done.sets, "removed": list(done.removed)}

    def human(console: Console) -> None:
        console.print(f"{counted(done.sets, 'credential set')} sealed anew with key {done.key_id}.")
        if done.removed:
            console.print(f"Removed from the ring: {', '.join(done.removed)}.")
        if isinstance(source, KeyFile):
            console.print(f"Back up {source.path} apart from the database: without it nothing opens.")

    show(document, as_json=as_json, human=human)


@app.command()
def make(
    file: Annotated[
        Path | None, typer.Argument(help="Where to write it (default: where this installation looks).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a new key ring (0600), for a secret store, or after the old one was lost."""
    source = key_source(home_from())
    if not isinstance(source, KeyFile):
        if file is None:
            raise SetupError(
                "the ring of this installation is not kept in a file: name one to write a new ring to"
            )
        source = KeyFile(file)
    path = file or source.path
    made = make_key_ring(path)

    def human(console: Console) -> None:
        console.print(f"Made {path}. Back it up apart from the database: without it nothing opens.")

    show({"file": str(path), "key": made.current}, as_json=as_json, human=human)
