"""`trisagion ledger`: show the books of a run, hold them against themselves, and enter what no fill tells.

What is entered needs a reason and evidence, is an entry like any other and an event. Nothing here changes an entry.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from decimal import Decimal, localcontext
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from trisagion.cli.acting import AsOption, KeyOption, acting
from trisagion.cli.rundir import database_of, run_of, settings_of, state_of
from trisagion.cli.table import aligned
from trisagion.clock import iso
from trisagion.errors import ConfigError, harmless, quoted
from trisagion.ledger.books import Balance
from trisagion.ledger.postings import unrealised
from trisagion.ledger.types import Entry, Kind, Lot, Position, Voucher
from trisagion.services import ledger_check, ledger_enter
from trisagion.units import SCALE, WIDE, money, plain, price, quantity

if TYPE_CHECKING:
    from trisagion.adapters.db.engine import SqlDatabase, Unit
    from trisagion.wiring import House

app = typer.Typer(no_args_is_help=True)

PAGE: Final = 1000
CELL_MAX: Final = 200
GAINS: Final[Mapping[str, str]] = {
    "realised": "realised",
    "fees": "fees",
    "rebates": "fees",
    "financing": "financing",
}
"""Accounts of the double entry that profit and loss are made of, and the figure that each counts in."""
_ZERO: Final = Decimal(0)


class Charge(StrEnum):
    """What is charged beside fills."""

    FEE = "fee"
    FINANCING = "financing"


class By(StrEnum):
    """How balances are told apart further."""

    STRATEGY = "strategy"
    SYMBOL = "symbol"


Run = Annotated[str | None, typer.Argument(metavar="[RUN]", help="A run's name; the newest when left out.")]
RunOption = Annotated[str | None, typer.Option("--run", help="A run's name; the newest when left out.")]
State = Annotated[Path | None, typer.Option(help="The state directory.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]
Account = Annotated[str | None, typer.Option(help="The account at the broker; the platform's own when left out.")]
Reason = Annotated[str, typer.Option(help="Why; goes to the books and the event log.")]
Evidence = Annotated[str, typer.Option(help="Where it can be seen: a statement, a notice, a case. Booked once by it.")]
Currency = Annotated[str | None, typer.Option(help="The account's own when left out.")]
Amount = Annotated[str, typer.Option(help="An amount of money.")]
Symbol = Annotated[str, typer.Option(help="The instrument.")]


_By: TypeAlias = tuple[str | None, str | None]
"""An operator's name and the reference to his key, as they were given."""


@dataclass(frozen=True, slots=True)
class _Desk:
    """A run's open database, and the platform that it is of."""

    database: "SqlDatabase"
    house: "House"

    @property
    def own(self) -> str:
        """The name of the platform's own account."""
        return self.house.settings.platform.account

    def book(self, name: str | None) -> str | None:
        """Return the books of an account: None for the platform's own."""
        return None if name == self.own else name

    def enter(self, work: Callable[[], Sequence[Entry]], as_json: bool) -> None:
        """Enter something, again where another writer was in the way, and show its lines."""
        from trisagion.adapters.db.engine import retrying

        _show([row for entry in retrying(work) for row in _lines(entry, self.own)], as_json)

    def voucher(self, command: str, what: str, reason: str, evidence: str, by: _By) -> Voucher:
        """Return what stands for an entry: who says so, why, and where it can be seen."""
        actor = acting(self.house, self.database, f"ledger {command}", *by)
        actor.signs(f"ledger {command}", what, f"{reason} ({evidence})", self.now_ns())
        return Voucher(actor.name, reason, evidence)

    def now_ns(self) -> int:
        """Return the instant that the run has come to."""
        from trisagion.services.control import present_ns

        with self.database.snapshot() as tx:
            return present_ns(tx)


@contextmanager
def _desk(state: Path | None, run: str | None) -> Iterator[_Desk]:
    from trisagion.adapters.db.engine import open_database
    from trisagion.wiring import House

    home = run_of(state_of(state), run)
    with database_of(home) as url, closing(open_database(url)) as database:
        yield _Desk(database, House(settings_of(home)))


@app.callback()
def _group() -> None:
    """Show, verify and correct the books of a run."""


@app.command()
def balances(
    run: Run = None,
    account: Account = None,
    by: Annotated[list[By] | None, typer.Option(help="Tell apart further; may be given twice.")] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Show the sum of each account of the double entry, in its own currency; all of a currency sum to zero."""
    with _desk(state, run) as desk, desk.database.snapshot() as tx:
        books = ledger_check.read_books(tx)
        sums: dict[tuple[str, ...], Decimal] = {}
        for key, amount in sorted(books.balances.items()):
            if account is None or (key.book or desk.own) == account:
                named = _named(key, desk.own, by or [])
                with localcontext(WIDE):
                    sums[named] = sums.get(named, _ZERO) + amount
    heads = ("account", "of", "currency", *(word.value for word in by or []))
    _show([dict(zip(heads, named, strict=True)) | {"amount": plain(sums[named])} for named in sums], as_json)


@app.command()
def pnl(
    run: Run = None,
    account: Account = None,
    by: Annotated[list[By] | None, typer.Option(help="Tell apart further; may be given twice.")] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Show what was realised, and what fees, rebates and financing left of it; by whose decision, if asked.

    Of what is still open it says nothing: positions are not divided by strategy.
    """
    with _desk(state, run) as desk, desk.database.snapshot() as tx:
        balances = ledger_check.read_books(tx).balances
    gains: dict[tuple[str, ...], dict[str, Decimal]] = {}
    for key, amount in sorted(balances.items()):
        if key.account in GAINS and (account is None or (key.book or desk.own) == account):
            own, _, *further = _named(key, desk.own, by or [])
            gain = gains.setdefault((own, *further), dict.fromkeys((*GAINS.values(), "net"), _ZERO))
            with localcontext(WIDE):
                # A profit is negative in its account, and what was paid is positive in the others.
                gain[GAINS[key.account]] += -amount if GAINS[key.account] == "realised" else amount
                gain["net"] -= amount
    heads = ("account", "currency", *(word.value for word in by or []))
    rows = [dict(zip(heads, of, strict=True)) | {n: plain(gain[n]) for n in gain} for of, gain in gains.items()]
    _show(rows, as_json)


def _named(key: Balance, own: str, by: Sequence[By]) -> tuple[str, ...]:
    return (key.book or own, key.account.value, key.currency, *(str(getattr(key, word.value)) for word in by))


@app.command()
def positions(
    run: Run = None,
    account: Annotated[str | None, typer.Option(help="One account at the broker alone.")] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Show positions with average price, realised profit, fees, and what closing at the last mark would realise."""
    from trisagion.adapters.db import reading

    with _desk(state, run) as desk, desk.database.snapshot() as tx:
        books = ledger_check.read_books(tx)
        held = [(desk.own, position) for position in tx.ledger.positions()]
        held += sorted(
            ((book, position) for (book, _), position in books.positions.items() if book is not None),
            key=lambda pair: (pair[0], pair[1].symbol),
        )
        rows = [
            _position(tx, name, position, reading.mark(tx, position.symbol))
            for name, position in held
            if account is None or account == name
        ]
    _show(rows, as_json)


def _position(tx: "Unit", name: str, position: Position, mark: Decimal | None) -> dict[str, str | None]:
    multiplier = tx.market.instrument(position.symbol).multiplier
    average = None
    if position.qty:
        with localcontext(WIDE):
            average = (position.cost / (position.qty * multiplier)).quantize(Decimal(1).scaleb(-SCALE))
    return {
        "account": name,
        "symbol": position.symbol,
        "qty": plain(position.qty),
        "cost": plain(position.cost),
        "average": None if average is None else plain(average),
        "realised": plain(position.realised),
        "fees": plain(position.fees),
        "mark": None if mark is None else plain(mark),
        "unrealised": None if mark is None else plain(unrealised(position, price(mark), multiplier)),
    }


@app.command()
def lots(
    run: Run = None,
    symbol: Annotated[str | None, typer.Option(help="One instrument alone.")] = None,
    closed: Annotated[bool, typer.Option("--all", help="Closed ones, too.")] = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Show the lots of the platform's own account: what opened them, what is left, and what they have realised."""
    with _desk(state, run) as desk, desk.database.snapshot() as tx:
        found = ledger_check.present_lots(tx)
    wanted = [lot for lot in found if (closed or lot.closed_ns is None) and symbol in {None, lot.symbol}]
    _show([_lot(lot) for lot in wanted], as_json)


def _lot(lot: Lot) -> dict[str, str | None]:
    numbers = {name: plain(getattr(lot, name)) for name in ("opened_qty", "opened_cost", "qty", "cost", "realised")}
    closed = None if lot.closed_ns is None else iso(lot.closed_ns)
    return {"entry": lot.entry, "symbol": lot.symbol, **numbers, "opened": iso(lot.opened_ns), "closed": closed}


@app.command()
def postings(
    run: Run = None,
    kind: Annotated[Kind | None, typer.Option(help="One kind of entry alone.")] = None,
    entry: Annotated[str | None, typer.Option(help="One entry alone, by its name.")] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Show entries in order of booking, line by line."""
    rows = []
    with _desk(state, run) as desk, desk.database.snapshot() as tx:
        after_seq = 0
        while page := tx.ledger.entries(after_seq, PAGE):
            wanted = [b.entry for b in page if kind in {None, b.entry.kind} and entry in {None, b.entry.name}]
            rows += [row for found in wanted for row in _lines(found, desk.own)]
            after_seq = page[-1].seq
    _show(rows, as_json)


def _lines(entry: Entry, own: str) -> list[dict[str, str | None]]:
    voucher = {} if entry.voucher is None else asdict(entry.voucher)
    rate = {} if entry.fx_rate is None else {"fx_rate": plain(entry.fx_rate)}
    return [
        {
            "at": iso(posting.happened_ns),
            "entry": entry.name,
            "kind": entry.kind.value,
            "strategy": entry.strategy.value,
            "account": entry.book or own,
            "of": posting.account.value,
            "symbol": posting.symbol,
            "amount": plain(posting.amount),
            "currency": entry.currency,
            "qty": plain(posting.qty),
            **rate,
            **voucher,
        }
        for posting in entry.postings
    ]


@app.command()
def transfer(
    amount: Annotated[str, typer.Option(help="What comes in; with a minus, what goes out.")],
    reason: Reason,
    evidence: Evidence,
    currency: Currency = None,
    account: Account = None,
    counter: Annotated[str | None, typer.Option(help="The account whence it comes, if it is kept here, too.")] = None,
    run: RunOption = None,
    state: State = None,
    operator: AsOption = None,
    key: KeyOption = None,
    as_json: AsJson = False,
) -> None:
    """Enter a deposit or a withdrawal; it is no profit, and moves the baseline of the take-profit with it."""
    with _desk(state, run) as desk:
        books = {"book": desk.book(account), "counter": _counter(desk, counter)}
        voucher = desk.voucher("transfer", f"{amount} {currency or ''}", reason, evidence, (operator, key))
        work = partial(
            ledger_enter.transfer, desk.database, money(amount), desk.now_ns(), voucher, currency=currency, **books
        )
        desk.enter(work, as_json)


def _counter(desk: _Desk, counter: str | None) -> str | None:
    if counter == desk.own:
        raise ConfigError(f"--counter: expected another account than {counter}; give the other one as --account")
    return counter


@app.command()
def charge(
    kind: Annotated[Charge, typer.Argument(help="What it is.")],
    amount: Annotated[str, typer.Option(help="What we pay; with a minus, what is paid to us.")],
    reason: Reason,
    evidence: Evidence,
    currency: Currency = None,
    rate: Annotated[
        str | None, typer.Option(help="What one unit of the currency is worth in the account's own, if it is known.")
    ] = None,
    symbol: Annotated[str | None, typer.Option(help="The instrument that it is about.")] = None,
    account: Account = None,
    run: RunOption = None,
    state: State = None,
    operator: AsOption = None,
    key: KeyOption = None,
    as_json: AsJson = False,
) -> None:
    """Enter a fee or financing that no fill told; without a rate, foreign money stays in its own currency."""
    with _desk(state, run) as desk:
        work = partial(
            ledger_enter.charge,
            desk.database,
            Kind(kind.value),
            money(amount),
            desk.now_ns(),
            desk.voucher("charge", f"{kind.value} {amount} {currency or ''}", reason, evidence, (operator, key)),
            currency=currency,
            fx_rate=None if rate is None else price(rate),
            symbol=symbol,
            book=desk.book(account),
        )
        desk.enter(work, as_json)


@app.command()
def adjust(
    reason: Reason,
    evidence: Evidence,
    amount: Annotated[str | None, typer.Option(help="Correct cash by this much.")] = None,
    currency: Currency = None,
    symbol: Annotated[str | None, typer.Option(help="Correct the position in this instrument.")] = None,
    qty: Annotated[str | None, typer.Option(help="By this signed quantity.")] = None,
    at: Annotated[str | None, typer.Option(metavar="PRICE", help="At this price.")] = None,
    account: Account = None,
    run: RunOption = None,
    state: State = None,
    operator: AsOption = None,
    key: KeyOption = None,
    as_json: AsJson = False,
) -> None:
    """Correct cash (--amount) or a position (--symbol, --qty, --at); the other side is the account `adjustment`."""
    of_money, of_position = amount is not None, all(given is not None for given in (symbol, qty, at))
    stray = any(given is not None for given in ((symbol, qty, at) if of_money else (currency,)))
    if of_money == of_position or stray:
        raise ConfigError("adjust: expected --amount [--currency], or --symbol, --qty and --at, found neither or both")
    with _desk(state, run) as desk:
        book, now_ns = desk.book(account), desk.now_ns()
        what = f"{amount} {currency or ''}" if of_money else f"{qty} {symbol} at {at}"
        voucher = desk.voucher("adjust", what, reason, evidence, (operator, key))
        if amount is not None:
            work = partial(
                ledger_enter.adjust_money, desk.database, money(amount), now_ns, voucher, currency=currency, book=book
            )
        else:
            assert symbol is not None and qty is not None and at is not None
            work = partial(
                ledger_enter.adjust_position,
                desk.database,
                symbol,
                quantity(qty),
                price(at),
                now_ns,
                voucher,
                book=book,
            )
        desk.enter(work, as_json)


@app.command()
def split(
    symbol: Symbol,
    ratio: Annotated[str, typer.Option(metavar="NEW:OLD", help="As 4:1 where one share becomes four.")],
    reason: Reason,
    evidence: Evidence,
    account: Account = None,
    run: RunOption = None,
    state: State = None,
    operator: AsOption = None,
    key: KeyOption = None,
    as_json: AsJson = False,
) -> None:
    """Enter a split: the quantity changes, the cost does not."""
    new, _, old = ratio.partition(":")
    if not (new.isascii() and new.isdigit() and old.isascii() and old.isdigit() and len(ratio) < PAGE):
        raise ConfigError(f"--ratio: expected NEW:OLD as 4:1, found {quoted(ratio)}")
    with _desk(state, run) as desk:
        voucher = desk.voucher("split", f"{symbol} {ratio}", reason, evidence, (operator, key))
        book = desk.book(account)
        work = partial(ledger_enter.split, desk.database, symbol, int(new), int(old), desk.now_ns(), voucher, book=book)
        desk.enter(work, as_json)


@app.command()
def verify(run: Run = None, state: State = None, as_json: AsJson = False) -> None:
    """Add up every entry, and compare positions and lots with what comes out; exit code 1 when anything differs."""
    with _desk(state, run) as desk:
        _judge(ledger_check.verify(desk.database), as_json)


@app.command()
def rebuild(
    run: Run = None,
    check: Annotated[bool, typer.Option("--check", help="Only compare; write nothing.")] = False,
    reason: Annotated[str, typer.Option(help="Why; without --check.")] = "",
    evidence: Annotated[str, typer.Option(help="What shows that it is needed; without --check.")] = "",
    state: State = None,
    operator: AsOption = None,
    key: KeyOption = None,
    as_json: AsJson = False,
) -> None:
    """Make positions and lots anew from the entries; tell what was wrong."""
    with _desk(state, run) as desk:
        if check:
            _judge(ledger_check.verify(desk.database), as_json)
            return
        voucher = desk.voucher("rebuild", "", reason, evidence, (operator, key))
        ledger_check.rebuild(desk.database, voucher, desk.now_ns())
        _judge(ledger_check.verify(desk.database), as_json)


def _judge(found: ledger_check.Verified, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"entries": found.entries, "holds": not found.problems, "problems": found.problems}))
    else:
        for problem in found.problems:
            print(problem)
        print(f"{found.entries} entries: " + ("the books hold" if not found.problems else "THE BOOKS DO NOT HOLD"))
    if found.problems:
        raise typer.Exit(1)


def _show(rows: Sequence[Mapping[str, str | None]], as_json: bool) -> None:
    """Print rows as one list for machines, else as columns as wide as they need."""
    if as_json:
        print(json.dumps([dict(row) for row in rows]))
        return
    if not rows:
        print("none")
        return
    heads = list(dict.fromkeys(name for row in rows for name in row))
    cells = [heads, *([harmless(row.get(head) or "", CELL_MAX) for head in heads] for row in rows)]
    print("\n".join(aligned(cells)))
