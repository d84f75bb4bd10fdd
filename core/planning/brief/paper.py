"""A sheet of A4 to write on: text that wraps, is clipped to so many lines, and never fails
for a character that the font lacks."""

import io
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from fpdf import FPDF
from fpdf.fonts import TTFFont

WIDTH, HEIGHT, MARGIN = 210.0, 297.0, 12.0  # mm
INNER = WIDTH - 2 * MARGIN
MM_PER_POINT = 25.4 / 72
INK, GREY, TEAL, ORANGE, LINE = (29, 37, 40), (93, 107, 112), (15, 107, 107), (200, 99, 43), (220, 216, 204)
MISSING = "□"
LEADING = 1.26


@lru_cache
def font_folder() -> Path:
    """Where matplotlib keeps the DejaVu fonts; it is found, not imported (that takes long)."""
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise RuntimeError("The fonts of the brief come with the package matplotlib, which is not installed.")
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"


class Paper:
    """All lengths in mm, sizes of type in points; y grows downwards."""

    def __init__(self, title: str, author: str) -> None:
        self.pdf = FPDF(unit="mm", format="A4")
        self.pdf.set_auto_page_break(False)
        self.pdf.set_margin(0)
        self.pdf.c_margin = 0
        for style, file in (("", "DejaVuSans.ttf"), ("B", "DejaVuSans-Bold.ttf")):
            self.pdf.add_font("dejavu", style, font_folder() / file)
        self.pdf.set_title(self.shown(title))
        self.pdf.set_author(self.shown(author))
        self.pdf.set_creator("Prefloop")
        self.pdf.set_lang("en")
        self.pdf.add_page()

    def shown(self, text: str) -> str:
        """The text in one line, with a box for every character that the font lacks."""
        regular, bold = self._font("dejavu"), self._font("dejavuB")
        return "".join(
            letter if ord(letter) in regular.cmap and ord(letter) in bold.cmap else MISSING
            for letter in " ".join(text.split())
        )

    def _font(self, key: str) -> TTFFont:
        font = self.pdf.fonts[key]
        assert isinstance(font, TTFFont)
        return font

    def lines(self, text: str, width: float, size: float, most: int, bold: bool = False) -> list[str]:
        """The text in lines of at most `width`, the last of `most` ending in … when more
        does not fit. A word longer than a line is broken."""
        self.pdf.set_font("dejavu", "B" if bold else "", size)
        words = self.shown(text).split(" ")
        found, line = [], ""
        while words:
            word = words.pop(0)
            longer = f"{line} {word}" if line else word
            if self._wide(longer) <= width:
                line = longer
            elif line:
                found.append(line)
                line = ""
                words.insert(0, word)
            else:
                fits = self._fitting(word, width)
                found.append(word[:fits])
                words.insert(0, word[fits:])
            if len(found) == most:
                break
        if line and len(found) < most:
            found.append(line)
            line = ""
        if words and found:
            found[-1] = self._ended(found[-1], width)
        return found

    def width_of(self, text: str, size: float, bold: bool = False) -> float:
        self.pdf.set_font("dejavu", "B" if bold else "", size)
        return self._wide(self.shown(text))

    def _wide(self, text: str) -> float:
        return float(self.pdf.get_string_width(text))

    def _fitting(self, word: str, width: float) -> int:
        """How many letters of a word go into a line: one at least."""
        count = 1
        while count < len(word) and self._wide(word[: count + 1]) <= width:
            count += 1
        return count

    def _ended(self, line: str, width: float) -> str:
        while line and self._wide(line + "…") > width:
            line = line[:-1]
        return line.rstrip(" ,;:.") + "…"

    def write(
        self, lines: list[str], x: float, y: float, size: float, colour: tuple[int, int, int] = INK,
        bold: bool = False,
    ) -> float:  # fmt: skip
        """Write lines from `y` down; answers the y below them."""
        self.pdf.set_font("dejavu", "B" if bold else "", size)
        self.pdf.set_text_color(*colour)
        for line in lines:
            self.pdf.text(x, y + size * MM_PER_POINT, line)
            y += line_height(size)
        return y

    def rule(self, y: float, colour: tuple[int, int, int] = LINE, width: float = 0.2) -> None:
        self.pdf.set_draw_color(*colour)
        self.pdf.set_line_width(width)
        self.pdf.line(MARGIN, y, WIDTH - MARGIN, y)

    def picture(self, content: bytes, x: float, y: float, width: float, height: float, alt: str) -> None:
        self.pdf.image(io.BytesIO(content), x, y, width, height, alt_text=self.shown(alt))

    def finish(self) -> bytes:
        return bytes(self.pdf.output())


def line_height(size: float) -> float:
    return size * MM_PER_POINT * LEADING


def size_of_png(content: bytes) -> tuple[int, int]:
    """Width and height in pixels, from the header (PNG specification, 11.2.2)."""
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
