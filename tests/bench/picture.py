"""Draws the figures as bars, one panel for each scenario, as plain SVG."""

from xml.sax.saxutils import escape

import report
from plan import SCENARIOS

PANELS = ["fan-out", "bursts", "rooms", "round-trip-16", "idle", "churn"]
COLUMNS = 2
PANEL_WIDTH, ROW_HEIGHT, TITLE_HEIGHT, MARGIN = 440, 20, 48, 20
NAME_WIDTH, BAR_WIDTH = 100, 250

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 } .unit { fill: #57606a }
.bar { fill: #8c959f } .floor { fill: #d0d7de } .roomcast { fill: #0969da }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .unit { fill: #8b949e }
  .bar { fill: #6e7681 } .floor { fill: #3d444d } .roomcast { fill: #58a6ff }
}
"""


def bar_class(peer):
    return "roomcast" if peer == "roomcast" else "floor" if peer.startswith("floor") else "bar"


def panel(results, scenario, x, y):
    plan = SCENARIOS[scenario]
    title, _, detail = plan.title.partition(": ")
    lines = [
        f'<text class="title" x="{x}" y="{y + 14}">{escape(title)}</text>',
        f'<text class="unit" x="{x}" y="{y + 31}">{escape(detail)}; {escape(plan.unit)}</text>',
    ]
    found = {peer: report.values(results, scenario, peer) for peer in results[scenario]}
    found = {peer: min(values) for peer, values in found.items() if values}
    most = max(found.values(), default=1)
    for row, (peer, value) in enumerate(found.items()):
        top = y + TITLE_HEIGHT + row * ROW_HEIGHT
        width = max(1, BAR_WIDTH * value / most)
        lines += [
            f'<text x="{x}" y="{top + 11}">{escape(peer)}</text>',
            f'<rect class="{bar_class(peer)}" x="{x + NAME_WIDTH}" y="{top}" '
            f'width="{width:.1f}" height="14" rx="2"/>',
            f'<text x="{x + NAME_WIDTH + width + 6:.1f}" y="{top + 11}">{report.number(value)}</text>',
        ]
    return lines


def draw(results):
    panel_height = TITLE_HEIGHT + ROW_HEIGHT * max(len(peers) for peers in results.values()) + MARGIN
    width = MARGIN + COLUMNS * PANEL_WIDTH
    height = MARGIN + panel_height * -(-len(PANELS) // COLUMNS)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="What servers cost; shorter is better">',
        f"<style>{STYLE}</style>",
    ]
    for at, scenario in enumerate(PANELS):
        row, column = divmod(at, COLUMNS)
        lines += panel(results, scenario, MARGIN + column * PANEL_WIDTH, MARGIN + row * panel_height)
    return "\n".join([*lines, "</svg>", ""])
