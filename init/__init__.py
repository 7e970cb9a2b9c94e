"""Creates what a database lacks: the hand-written SQL beside this file, one CREATE TABLE per file, in order.

`create(url)` may run twice, or twice at once: what is there already is left as it is. It never changes and never drops,
and refuses a database in which one of our names belongs to a table of another shape, or that is of another release.
How SQLite is told the SQL stands in `trisagion.adapters.db.sql`.
"""

from trisagion.adapters.db.maintenance import create
from trisagion.adapters.db.sql import INIT as FOLDER

__all__ = ["FOLDER", "create"]
