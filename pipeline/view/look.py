"""Colours, style sheets and small pieces that all parts of the page share."""

from html import escape
from importlib.resources import files
from typing import Any

from bokeh.models import Div
from bokeh.palettes import Cividis256, Colorblind, RdBu11, interp_palette
from bokeh.plotting import figure

# Okabe and Ito's colours, which people with any colour vision tell apart, and palettes that are safe in the same way.
ONSET, APEX, OFFSET, ACCENT = "#009E73", "#D55E00", "#CC79A7", "#0072B2"
CATEGORIES = Colorblind[8]
SEQUENTIAL, DIVERGING = Cividis256, interp_palette(RdBu11, 255)

WRAPPED: dict[str, Any] = {"sizing_mode": "stretch_width", "styles": {"flex-wrap": "wrap"}}

_STYLE = files(__package__).joinpath("view.css").read_text(encoding="utf-8")


def html(text: str = "", **options: Any) -> Div:
    """A piece of HTML in the page's style. Whatever a store says must have gone through ``escape``."""
    return Div(text=text, disable_math=True, stylesheets=[_STYLE], **({"sizing_mode": "stretch_width"} | options))


def said(message: str) -> str:
    """A message for the user."""
    return f'<p class="said">{escape(message)}</p>'


def chart(title: str, x: str, y: str, **options: Any) -> figure:
    """An empty chart with named axes."""
    made = figure(title=title, x_axis_label=x, y_axis_label=y, toolbar_location=None, **options)
    made.title.text_font_style = "normal"
    return made
