"""Pages of text, tables and plots, as HTML, Markdown and in a terminal."""

import dataclasses
import importlib.resources
import pathlib
from collections.abc import Mapping, Sequence
from typing import Literal

import jinja2
import rich.console
import rich.table

from ecdctr_tf import store
from ecdctr_tf.results import plots

_TEMPLATE = "page.html.jinja"


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a page under a title of its own; what is empty is left out."""

    title: str
    # Names of the columns and rows of cells; the first cell names the row.
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    # Sentences below the table.
    text: str = ""
    # Name -> figure.
    figures: Mapping[str, plots.Figure] = dataclasses.field(
        default_factory=dict
    )
    # Name of the row that stands out.
    strong: str = ""
    # Whether the table is shown on a click only, and in no Markdown.
    folded: bool = False


@dataclasses.dataclass(frozen=True)
class Card:
    """A judgement in a frame, told by sign and word, not by colour alone."""

    title: str
    # "good", "watch", "bad", or another word.
    level: str
    text: str
    # What follows from the text.
    meaning: str

    @property
    def label(self) -> str:
        """The level after its sign."""
        signs = {"good": "+ ", "watch": "! ", "bad": "\N{MINUS SIGN} "}
        return signs.get(self.level, "") + self.level


@dataclasses.dataclass(frozen=True)
class Page:
    """What is known of a run, a comparison, or of logs."""

    title: str
    # What the numbers are of, one sentence.
    scope: str
    # Sentences that qualify the numbers.
    notes: Sequence[str]
    sections: Sequence[Section]
    # Name -> a number that stands large at the top.
    tiles: Mapping[str, str] = dataclasses.field(default_factory=dict)
    cards: Sequence[Card] = ()

    @property
    def shown(self) -> list[Section]:
        """The sections that hold anything."""
        return [s for s in self.sections if s.rows or s.text or s.figures]

    def figures(self) -> dict[str, plots.Figure]:
        """Return the figures of all sections."""
        return {
            name: figure
            for section in self.shown
            for name, figure in section.figures.items()
        }

    def html(self) -> str:
        """Return one HTML document that needs no other file."""
        resource = importlib.resources.files(__package__) / _TEMPLATE
        environment = jinja2.Environment(
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        template = environment.from_string(resource.read_text("utf-8"))
        svg = {name: plots.to_svg(f) for name, f in self.figures().items()}
        return template.render(page=self, svg=svg)

    def markdown(self) -> str:
        """Return notes, cards and tables, without plots."""
        lines = [self.scope, *(f"\n> {note}" for note in self.notes)]
        if self.cards:
            header = ["", "verdict", "found", "meaning"]
            rows = [[c.title, c.label, c.text, c.meaning] for c in self.cards]
            lines += ["", *_markdown_table(header, rows, "---|")]
        for section in self.shown:
            if section.folded or not (section.rows or section.text):
                continue
            lines += ["", f"## {section.title}"]
            if section.rows:
                table = _markdown_table(section.header, section.rows, "---:|")
                lines += ["", *table]
            if section.text:
                lines += ["", section.text]
        return "\n".join(lines) + "\n"

    def write(
        self,
        out_dir: pathlib.Path,
        name: str,
        others: Mapping[str, str],
        png: bool = False,
    ) -> list[str]:
        """Write `index.html`, `<name>.md` and other files; replace old ones.

        Args:
          out_dir: the directory; made if need be.
          name: of the Markdown file.
          others: path in the directory -> content.
          png: whether each plot is also a file, as `plots/<name>.png`.

        Returns:
          What was written.
        """
        files = {"index.html": self.html(), f"{name}.md": self.markdown()}
        files |= others
        for path, content in files.items():
            store.write_text(out_dir / path, content)
        if png:
            for path, figure in self.figures().items():
                plots.save_png(figure, out_dir / f"plots/{path}.png")
        return [str(out_dir / path) for path in files]


def print_table(
    title: str,
    header: Sequence[str],
    rows: Mapping[str, Sequence[str]],
    styles: Mapping[str, str],
    paths: Sequence[str],
    justify: Literal["left", "right"] = "right",
) -> None:
    """Print a table, and where the rest was written.

    Args:
      title: what the numbers are of.
      header: names of the columns.
      rows: name of a row -> its other cells.
      styles: name of a row -> a style of rich; other rows are plain.
      paths: files or directories.
      justify: of all columns but the first.
    """
    console = rich.console.Console()
    table = rich.table.Table(title=title, title_justify="left", pad_edge=False)
    for i, name in enumerate(header):
        table.add_column(
            name,
            justify=justify if i else "left",
            no_wrap=not i,
            overflow="fold",
        )
    for name, cells in rows.items():
        table.add_row(name, *cells, style=styles.get(name, ""))
    console.print(table)
    for path in paths:
        console.print(
            f"wrote {path}", soft_wrap=True, highlight=False, markup=False
        )


def _markdown_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], align: str
) -> list[str]:
    """Return the lines of a table; `align` is of all columns but the first."""
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    return [lines[0], "|---|" + align * (len(header) - 1), *lines[1:]]
