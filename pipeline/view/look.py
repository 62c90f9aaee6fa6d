"""Colours, style sheets and small pieces that all parts of the page share."""

from html import escape
from importlib.resources import files
from typing import Any

from bokeh.models import Div, UIElement
from bokeh.palettes import Cividis256, RdBu11, interp_palette
from bokeh.plotting import figure
from bokeh.themes import Theme

# Okabe and Ito's colours, which people with any colour vision tell apart, and palettes that are safe in the same way.
ONSET, APEX, OFFSET, ACCENT, UNKNOWN = "#009E73", "#D55E00", "#CC79A7", "#2E8BC9", "#999999"
CATEGORIES = ("#0072B2", "#E69F00", "#009E73", "#56B4E9", "#CC79A7")
SEQUENTIAL, DIVERGING = Cividis256, interp_palette(RdBu11, 255)

_INK, _GROUND = "#d8dce0", "#1b1f24"
DARK = Theme(
    json={
        "attrs": {
            "Plot": {"background_fill_color": _GROUND, "border_fill_color": None, "outline_line_color": "#555c63"},
            "Grid": {"grid_line_color": "#3a4047"},
            "Axis": {
                "axis_line_color": _INK, "major_tick_line_color": _INK, "minor_tick_line_color": _INK,
                "major_label_text_color": _INK, "axis_label_text_color": _INK,
            },
            "Title": {"text_color": _INK},
            "Legend": {"label_text_color": _INK, "background_fill_color": _GROUND, "border_line_color": None},
            "ColorBar": {"background_fill_color": None, "title_text_color": _INK, "major_label_text_color": _INK},
        }
    }
)  # fmt: skip
# Of Bokeh's own widgets, which are light whatever the reader prefers.
_DARK_WIDGETS = """
@media (prefers-color-scheme: dark) {
  .bk-input, .bk-btn-default { background-color: #1b1f24 !important; color: #d8dce0 !important; border-color: #555c63; }
  .bk-tab { color: #d8dce0 !important; }
  .bk-tab.bk-active { background-color: #2a3037 !important; }
}
"""

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


def darken_widgets(root: UIElement) -> None:
    """Make all widgets below an element dark where the reader prefers that."""
    for model in root.references():
        if isinstance(model, UIElement):
            model.stylesheets = [*model.stylesheets, _DARK_WIDGETS]
