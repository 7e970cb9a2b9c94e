"""Desks for the tests of services: on SQLite for what one writer does, on both servers for what several do.

Certificates for the tests of paths to a venue.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import Desk
from trisagion.adapters.db import SqlDatabase, open_database


@pytest.fixture
def desk(sqlite_url: str) -> Iterator[Desk]:
    """Give a founded account on SQLite: an instrument, its price on a Tuesday noon, mode NORMAL."""
    database = open_database(sqlite_url)
    yield Desk(database).found()
    database.close()


@pytest.fixture
def empty(sqlite_url: str) -> Iterator[Desk]:
    """Give a database on SQLite in which nothing was founded yet."""
    database = open_database(sqlite_url)
    yield Desk(database)
    database.close()


@pytest.fixture
def shared(database: SqlDatabase) -> Desk:
    """Give a founded account on SQLite, then on MariaDB."""
    return Desk(database).found()


@pytest.fixture
def colleague(shared: Desk, other: SqlDatabase) -> Desk:
    """Give the account of `shared` as another process sees it."""
    return Desk(other)


@pytest.fixture(scope="session")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give two authorities, the venue's certificate, one that has run out, and one of ours."""
    folder = tmp_path_factory.mktemp("papers")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for authority in ("ca", "stranger"):
        usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
        files = ("-keyout", f"{authority}.key", "-out", f"{authority}.pem")
        openssl("req", "-x509", *key, *files, "-days", "30", "-subj", f"/CN={authority}", *usage)
    for name, days in (("venue", "30"), ("expired", "-1"), ("client", "30")):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        names = folder / f"{name}.ext"
        names.write_text("subjectAltName=DNS:venue.example\nauthorityKeyIdentifier=keyid\n", encoding="ascii")
        by = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", names.name)
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", "-days", days, *by)
    return folder
