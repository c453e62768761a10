"""A small writer of SVG: shapes with classes, no styles, every text escaped; colours come from the page."""

from collections.abc import Mapping

from markupsafe import Markup, escape

from kdlens.visible import visible

Number = float | int | str


class Svg:
    """A drawing of a fixed size that scales with its place.

    Args:
        width: width in its own units.
        height: height, likewise.
        label: what a screen reader says instead of the drawing.
        css: class of the drawing.

    Example:
        >>> drawing = Svg(10, 4, "a <line>")
        >>> drawing.line(0, 2, 10, 2, "axis")
        >>> print(drawing.markup())
        <svg viewBox="0 0 10 4" class="chart" role="img" aria-label="a &lt;line&gt;"><line x1="0" y1="2" x2="10" y2="2"
        class="axis"/></svg>
    """

    def __init__(self, width: Number, height: Number, label: str, css: str = "chart") -> None:
        self.width, self.height = width, height
        head = {"viewBox": f"0 0 {width} {height}", "class": css, "role": "img", "aria-label": label}
        self._head = _attributes(head)
        self._parts: list[Markup] = []

    def line(self, x1: Number, y1: Number, x2: Number, y2: Number, css: str) -> None:
        """Add a line."""
        self._add("line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "class": css})

    def rect(self, x: Number, y: Number, width: Number, height: Number, css: str) -> None:
        """Add a rectangle."""
        self._add("rect", {"x": x, "y": y, "width": width, "height": height, "class": css})

    def circle(self, x: Number, y: Number, radius: Number, css: str) -> None:
        """Add a circle."""
        self._add("circle", {"cx": x, "cy": y, "r": radius, "class": css})

    def path(self, data: str, css: str, *, thickness: Number | None = None) -> None:
        """Add a path from path data made here, never from a user's text; `thickness` of its line where it matters."""
        line = {} if thickness is None else {"stroke-width": thickness}
        self._add("path", {"d": data, **line, "class": css})

    def text(self, x: Number, y: Number, text: str, css: str, *, anchor: str = "start", full: str = "") -> None:
        """Add a text; `full` is shown when a pointer rests on a shortened one."""
        tip = Markup("<title>{}</title>").format(visible(full)) if full and full != text else Markup("")
        attributes = _attributes({"x": x, "y": y, "text-anchor": anchor, "class": css})
        self._parts.append(Markup("<text{}>{}{}</text>").format(attributes, tip, visible(text)))

    def markup(self) -> Markup:
        """The drawing as markup that needs no further escaping."""
        return Markup("<svg{}>{}</svg>").format(self._head, Markup("").join(self._parts))

    def _add(self, tag: str, attributes: dict[str, Number]) -> None:
        self._parts.append(Markup("<{}{}/>").format(tag, _attributes(attributes)))


def _attributes(values: Mapping[str, Number]) -> Markup:
    return Markup("").join(Markup(' {}="{}"').format(name, _text(value)) for name, value in values.items())


def _text(value: Number) -> Markup:
    return escape(visible(value) if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip("."))
