"""Options and arguments that several commands share."""

from typing import Annotated

import typer

StorePlace = Annotated[str, typer.Argument(metavar="STORE", help="A folder, a zip file, or a URL.")]
Without = Annotated[str | None, typer.Option(help="Leave out texture, depth or au_frames; several with commas.")]
