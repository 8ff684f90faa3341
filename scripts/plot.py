"""Plots as SVG, without a library: lines over a logarithmic axis, and bars."""

import math
from xml.sax.saxutils import escape

WIDTH = 720
COLOURS = ("#0b6bcb", "#c2410c", "#15803d", "#7e22ce", "#a8b3c0")
STYLE = "text{font:12px sans-serif;fill:#333}.title{font-weight:bold}.grid{stroke:#ddd}"


def text(x, y, words, anchor="start", kind=""):
    kind = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(words)}</text>'


def line(x1, y1, x2, y2):
    return f'<line class="grid" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def page(height, parts):
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
    background = f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>'
    return "\n".join([head, f"<style>{STYLE}</style>", background, *parts, "</svg>", ""])


def round_up(value):
    """The next number of the form 1, 2 or 5 times a power of ten."""
    power = 10 ** math.floor(math.log10(value))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= value)


def lines(panels):
    """Panels below each other. Each is (title, name of the x axis, {name: [(x, y), ...]}); y begins at 0."""
    parts, top, panel_height = [], 0, 190
    left, right, upper, lower = 60, WIDTH - 40, 34, 140
    for title, axis, series in panels:
        points = [point for each in series.values() for point in each]
        low, high = (math.log10(bound(x for x, _ in points)) for bound in (min, max))
        ceiling = round_up(max(y for _, y in points) * 1.05)
        at_x = lambda x: left + (math.log10(x) - low) / (high - low) * (right - left)
        at_y = lambda y: top + lower - y / ceiling * (lower - upper)
        parts.append(text(left, top + 20, title, kind="title"))
        for step in range(5):
            y = ceiling * step / 4
            parts += [line(left, at_y(y), right, at_y(y)), text(left - 8, at_y(y) + 4, f"{y:,.4g}", "end")]
        for power in range(math.ceil(low), math.floor(high) + 1):
            parts.append(text(at_x(10**power), top + lower + 18, f"{10 ** power:,}", "middle"))
        parts.append(text(right, top + lower + 36, axis, "end"))
        for index, (name, each) in enumerate(series.items()):
            path = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in each)
            colour = COLOURS[index]
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
            parts += [f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="3" fill="{colour}"/>' for x, y in each]
            legend = left + 145 * index
            parts.append(f'<rect x="{legend}" y="{top + lower + 27}" width="10" height="10" fill="{colour}"/>')
            parts.append(text(legend + 15, top + lower + 36, name))
        top += panel_height
    return page(top, parts)


def bars(panels, emphasis, columns=3):
    """Panels beside and below each other. Each is (title, {name: value}, format of a value); bars begin at 0."""
    parts, width, row, left, right = [], WIDTH / columns, 18, 68, 46
    heights = [0]
    for start in range(0, len(panels), columns):
        heights.append(heights[-1] + 50 + row * max(len(values) for _, values, _ in panels[start : start + columns]))
    for position, (title, values, words) in enumerate(panels):
        x, top = position % columns * width, heights[position // columns]
        parts.append(text(x + 8, top + 24, title, kind="title"))
        most = max(values.values())
        for index, (name, value) in enumerate(values.items()):
            y = top + 36 + row * index
            length = max(1, value / most * (width - left - right))
            colour = COLOURS[0 if name == emphasis else 4]
            parts.append(text(x + left - 4, y + 11, name, "end"))
            parts.append(f'<rect x="{x + left:.1f}" y="{y}" width="{length:.1f}" height="{row - 5}" fill="{colour}"/>')
            parts.append(text(x + left + length + 4, y + 11, words.format(value)))
    return page(heights[-1] + 10, parts)
