"""One look for all figures, and their three forms: SVG inside the page, PNG and PDF beside it."""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from training.report.page import Picture

# Text and lines; in the page they follow its colours, so that they can be read on a dark ground too.
INK, LINE = "#1f2933", "#c9d1da"
# Told apart with any colour vision (after Okabe and Ito), and on white as on black.
BLUE, ORANGE, GREEN, PURPLE, SKY, OCHRE = "#2a7fc1", "#d9691e", "#1b9e77", "#b5659a", "#56b4e9", "#c99700"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, OCHRE, SKY)
SYNTHETIC_CAPTION = " Synthetic clips, no recordings of people's expressions."
WIDTH = 9.6  # inches of a figure as wide as the page

_STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,  # frame numbers are names
    "axes.formatter.limits": (-5, 9),  # those of SMIC have seven digits
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "image.composite_image": False,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "mer",  # the same figure gives the same bytes
    "text.parse_math": False,  # a name may hold a dollar
} | dict.fromkeys(
    ("text.color", "axes.labelcolor", "axes.edgecolor", "axes.titlecolor", "xtick.color", "ytick.color"), INK
)


@contextmanager
def style() -> Iterator[None]:
    """Figures are drawn and saved inside."""
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # Names in other alphabets: the fonts of PNG and PDF may lack their letters, the page's have them.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        yield


def new_figure(width: float, height: float) -> Figure:
    """A figure in inches that needs no display."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def bare(axes: Axes) -> None:
    """No ticks, no grid, no frame: for a picture."""
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def name_row(row: Sequence[Axes], name: str) -> None:
    """A name above a row of pictures that takes height but no width."""
    for axes in row:
        axes.set_title(" ", fontsize=6)
        axes.set_anchor("N")  # below the name, also a picture that is taller than the first
    text = row[0].annotate(
        name, (0, 1), xycoords="axes fraction", xytext=(0, 4), textcoords="offset points", fontsize=8
    )
    text.set_in_layout(False)


def save(figure: Figure, folder: Path, name: str, caption: str) -> Picture:
    """Write ``name.png`` and ``name.pdf`` into the folder; the SVG goes into the page."""
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.png", dpi=200, facecolor="white")
    figure.set_layout_engine(None)  # it stands; laying it out takes longer than drawing it
    nameless = {"Creator": None, "Producer": None, "CreationDate": None}
    figure.savefig(folder / f"{name}.pdf", facecolor="white", metadata=nameless)
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return Picture(name, caption, Markup(_inline(text.getvalue(), name, caption)))  # matplotlib escapes


def _inline(svg: str, name: str, caption: str) -> str:
    """An SVG file as part of a page: without declarations, with names of its own, in the page's colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    svg = svg.replace("xlink:href=", "href=")
    svg = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    for colour, variable in ((INK, "--ink"), (LINE, "--line")):
        svg = svg.replace(colour, f"var({variable})")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(caption)}" ', 1)
