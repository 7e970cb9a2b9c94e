"""Many records of one layout as a structure of arrays: each field lies by itself, one value behind the other."""

from typing import Any, Final, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

WHOLE: Final = np.dtype("<i8")
REAL: Final = np.dtype("<f8")


class Columns:
    """k records of a layout: a row of `whole` for each integer field, a row of `real` for each other, in its order.

    `layout` is a structured dtype of int64 and float64 fields; shapes: `whole` int64 and `real` float64, (fields, k),
    both C-contiguous, so that the compiled kernel walks along each field.
    """

    __slots__ = ("layout", "real", "whole")

    def __init__(self, layout: np.dtype[np.void], whole: NDArray[np.int64], real: NDArray[np.float64]) -> None:
        self.layout = layout
        self.whole = whole
        self.real = real

    @classmethod
    def zeros(cls, layout: np.dtype[np.void], count: int) -> "Columns":
        """Return `count` records of zeros."""
        names = fields(layout, WHOLE), fields(layout, REAL)
        assert len(names[0]) + len(names[1]) == len(layout.names or ()), f"only int64 and float64 fields: {layout}"
        return cls(layout, np.zeros((len(names[0]), count), np.int64), np.zeros((len(names[1]), count)))

    @classmethod
    def of(cls, records: NDArray[np.void]) -> "Columns":
        """Return the records of a structured array."""
        made = cls.zeros(records.dtype, len(records))
        for name in records.dtype.names or ():
            made[name] = records[name]
        return made

    def __len__(self) -> int:
        """Return the number of records."""
        return int(self.whole.shape[1])

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return the values of a field, shape (k,): a view, through which they can be changed."""
        kind = self.layout[name]
        block: NDArray[Any] = self.whole if kind == WHOLE else self.real
        column: NDArray[Any] = block[fields(self.layout, kind).index(name)]
        return column

    def __setitem__(self, name: str, values: ArrayLike) -> None:
        """Change the values of a field, all to one or each to its own."""
        self[name][:] = values

    @property
    def nbytes(self) -> int:
        """Return what the values weigh."""
        return self.whole.nbytes + self.real.nbytes

    def record(self, row: SupportsIndex) -> np.void:
        """Return one record."""
        made = np.zeros(1, dtype=self.layout)
        for name in self.layout.names or ():
            made[name] = self[name][row]
        record: np.void = made[0]
        return record

    def take(self, rows: Any) -> "Columns":
        """Return a copy of some records: a mask, a slice or indices."""
        return Columns(self.layout, self.whole[:, rows].copy("C"), self.real[:, rows].copy("C"))

    def joined(self, other: "Columns") -> "Columns":
        """Return these records and behind them others of the same layout."""
        assert self.layout == other.layout, (self.layout, other.layout)
        return Columns(self.layout, np.hstack([self.whole, other.whole]), np.hstack([self.real, other.real]))

    def copy(self) -> "Columns":
        """Return an independent copy."""
        return Columns(self.layout, self.whole.copy(), self.real.copy())

    def tobytes(self) -> bytes:
        """Return the values as bytes: all of `whole`, then all of `real`."""
        return self.whole.tobytes() + self.real.tobytes()


def fields(layout: np.dtype[np.void], kind: np.dtype[Any]) -> tuple[str, ...]:
    """Return the names of a layout's fields of one kind, in its order."""
    return tuple(name for name in layout.names or () if layout[name] == kind)
