"""One HTML page that holds everything: no script, and nothing to be fetched.

The figures are SVGs inside the page, each drawn for light and dark, wide and
narrow; the reader's browser takes the one that fits. What a result file says is
somebody else's text, so all of it is escaped.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined
from markupsafe import Markup, escape

from osxfs_sim import __version__
from osxfs_sim.model.escaping import printable_lines
from osxfs_sim.report.contents import NO_TRACE, TILDE, Contents, TraceContents
from osxfs_sim.report.pictures import Plot, plots_of, plots_of_traces
from osxfs_sim.report.plots import DARK, LIGHT, Style, Theme, drawable, render

_WIDE_INCHES = 7.2
_NARROW_INCHES = 3.4
# Of a figure's unit in the page: what CSS calls an inch.
_PIXELS_PER_INCH = 96


@dataclass(frozen=True, slots=True)
class _Picture:
    """A plot as the page embeds it: data URIs, and how large it is."""

    title: str
    alt: str
    light: str
    dark: str
    narrow_light: str
    narrow_dark: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class _Section:
    """One comparison on the page."""

    anchor: str
    contents: Contents
    pictures: tuple[_Picture, ...]
    attribution: tuple[_Picture, ...]


@dataclass(frozen=True, slots=True)
class _Extra:
    """Traces that belong to no comparison of the page."""

    anchor: str
    traces: tuple[TraceContents, ...]
    attribution: tuple[_Picture, ...]


def page(all_contents: Sequence[Contents], extra_traces: Sequence[TraceContents] = ()) -> str:
    """A report on comparisons, and on traces without one, as the text of one HTML page."""
    environment = Environment(
        loader=BaseLoader(),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    source = resources.files("osxfs_sim.report").joinpath("page.html.j2").read_text("utf-8")
    sections = [
        _Section(
            f"result-{number}",
            contents,
            tuple(_picture(plot) for plot in plots_of(contents)),
            tuple(_picture(plot) for plot in plots_of_traces(contents.traces)),
        )
        for number, contents in enumerate(all_contents, 1)
    ]
    extra = None
    if extra_traces:
        pictures = tuple(_picture(plot) for plot in plots_of_traces(extra_traces))
        extra = _Extra("traces", tuple(extra_traces), pictures)
    return environment.from_string(source).render(
        title=_title(all_contents),
        sections=sections,
        extra=extra,
        dark=DARK,
        light=LIGHT,
        no_trace=_with_code(NO_TRACE, "--trace DIR"),
        tilde=TILDE,
        version=__version__,
        linked=linked,
    )


def _shown(value: Any) -> Any:
    """What stands in the page: of a text what can be seen of it, on its line."""
    return (
        printable_lines(value)
        if isinstance(value, str) and not hasattr(value, "__html__")
        else value
    )


def _title(all_contents: Sequence[Contents]) -> str:
    if len(all_contents) == 1:
        return all_contents[0].title
    return f"{len(all_contents)} comparisons" if all_contents else "Where the time went"


def _picture(plot: Plot) -> _Picture:
    def drawn(theme: Theme, width_inches: float) -> tuple[str, tuple[float, float]]:
        style = Style(theme, width_inches)
        figure = plot.draw(style)
        width, height = figure.get_size_inches()
        data = base64.b64encode(render(figure, style, "svg")).decode("ascii")
        return f"data:image/svg+xml;base64,{data}", (float(width), float(height))

    light, (width, height) = drawn(LIGHT, _WIDE_INCHES)
    return _Picture(
        plot.title,
        plot.alt,
        light,
        drawn(DARK, _WIDE_INCHES)[0],
        drawn(LIGHT, _NARROW_INCHES)[0],
        drawn(DARK, _NARROW_INCHES)[0],
        round(width * _PIXELS_PER_INCH),
        round(height * _PIXELS_PER_INCH),
    )


def _with_code(text: str, command: str) -> Markup:
    return escape(text).replace(command, Markup("<code>{}</code>").format(command))


def linked(text: str) -> Markup | str:
    """*text* as a link of HTML where it is an http address; anything else unchanged."""
    if text.startswith(("https://", "http://")) and drawable(text) == text and " " not in text:
        return Markup('<a href="{0}" rel="noreferrer">{0}</a>').format(text)
    return text
