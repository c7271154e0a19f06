"""A screen with its colours (`tmux capture-pane -e -p`) as an SVG: cells of a fixed size, so that columns stay columns."""

import re
import sys
from xml.sax.saxutils import escape

WIDTH, HEIGHT, SIZE = 8.4, 17, 14
TEXT, BACK = "#d7dce4", "#10141b"
SIXTEEN = ["#2b303b", "#f06c6c", "#7fc98f", "#f0b060", "#86a8d8", "#c98cf0", "#5fc9d8", "#d7dce4",
           "#6f7a8b", "#f06c6c", "#7fc98f", "#e8c46a", "#86a8d8", "#c98cf0", "#5fc9d8", "#ffffff"]


def indexed(number):
    """A colour of the 256."""
    if number < 16:
        return SIXTEEN[number]
    if number < 232:
        number -= 16
        parts = [number // 36, number // 6 % 6, number % 6]
        return "#" + "".join(f"{0 if part == 0 else 55 + 40 * part:02x}" for part in parts)
    return "#" + f"{8 + 10 * (number - 232):02x}" * 3


def colour(codes):
    """The colour behind 38 or 48, and the codes that are left."""
    if codes[0] == 2:
        return "#" + "".join(f"{part:02x}" for part in codes[1:4]), codes[4:]
    return indexed(codes[1]), codes[2:]


def styled(codes, style):
    """The style after these codes."""
    while codes:
        code, codes = codes[0], codes[1:]
        if code == 0:
            style = {}
        elif code == 1:
            style = {**style, "bold": True}
        elif code == 2:
            style = {**style, "faint": True}
        elif code == 7:
            style = {**style, "reversed": True}
        elif code in (38, 48) and codes:
            value, codes = colour(codes)
            style = {**style, "text" if code == 38 else "back": value}
        elif 30 <= code <= 37 or 90 <= code <= 97:
            style = {**style, "text": SIXTEEN[code - 30 if code < 40 else code - 82]}
        elif 40 <= code <= 47:
            style = {**style, "back": SIXTEEN[code - 40]}
        elif code in (39, 49):
            style = {key: value for key, value in style.items() if key != ("text" if code == 39 else "back")}
    return style


def pieces(line):
    """Texts of one style with their columns."""
    column, style = 0, {}
    for part in re.split(r"(\x1b\[[0-9;:]*m)", line):
        if part.startswith("\x1b["):
            codes = [int(code or 0) for code in re.split("[;:]", part[2:-1])]
            style = styled(codes, style)
        elif part:
            yield column, part, style
            column += len(part)


def main():
    lines = re.sub(r"\x1b[()][0-9A-B]|\x0e|\x0f", "", sys.stdin.read()).rstrip("\n").split("\n")
    columns = max(sum(len(text) for _, text, _ in pieces(line)) for line in lines)
    width, height = columns * WIDTH + 24, len(lines) * HEIGHT + 24
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" viewBox="0 0 {width:.0f} {height}">')
    print(f'<rect width="100%" height="100%" rx="8" fill="{BACK}"/>')
    print(f'<g font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="{SIZE}" xml:space="preserve">')
    for row, line in enumerate(lines):
        for column, text, style in pieces(line):
            front, back = style.get("text", TEXT), style.get("back")
            if style.get("reversed"):
                front, back = back or BACK, front
            x, y, length = 12 + column * WIDTH, 12 + row * HEIGHT, len(text) * WIDTH
            if back:
                print(f'<rect x="{x:.1f}" y="{y}" width="{length:.1f}" height="{HEIGHT}" fill="{back}"/>')
            if text.strip():
                weight = ' font-weight="bold"' if style.get("bold") else ""
                faint = ' opacity="0.6"' if style.get("faint") else ""
                print(f'<text x="{x:.1f}" y="{y + 13}" textLength="{length:.1f}" fill="{front}"{weight}{faint}>{escape(text)}</text>')
    print("</g>\n</svg>")


main()
