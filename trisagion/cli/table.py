"""Rows of text as columns of a terminal."""

from collections.abc import Collection, Iterator, Sequence


def aligned(rows: Sequence[Sequence[str]], figures: Collection[int] = ()) -> Iterator[str]:
    """Yield rows as lines, each column as wide as it needs: words to the left, those of `figures` to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            text.rjust(width) if index in figures else text.ljust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()
