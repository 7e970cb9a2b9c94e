"""Lots: the position as the entries that opened it, closed first in, first out.

The double entry values at average cost; lots are a second reading of the same postings. Both agree on quantity and cost
at any time, and on the realised profit whenever the position is flat.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal, localcontext
from typing import Final

from trisagion.errors import OurMistake
from trisagion.ledger.postings import undone_by
from trisagion.ledger.types import Account, Entry, Kind, Lot, Posting
from trisagion.units import WIDE, Money, Quantity, plain, round_money

_ZERO: Final = Decimal(0)


def matched(lots: Sequence[Lot], entry: Entry, symbol: str) -> tuple[Lot, ...]:
    """Return the lots of a symbol that an entry changes or opens, as they are after it.

    `lots` are the open ones, the oldest first. What takes an entry back closes what that one opened before it closes
    others. `OurMistake` when it closes more than there is.
    """
    if entry.kind is Kind.SPLIT:
        return _split(lots, entry)
    changed: list[Lot] = []
    with localcontext(WIDE):
        realised = sum((p.amount for p in entry.postings if p.account is Account.REALISED), _ZERO)
        for posting in entry.postings:
            if posting.account is not Account.INVENTORY or posting.symbol != symbol or posting.qty == 0:
                continue
            if lots and lots[0].qty * posting.qty < 0 and not changed:
                # What came for it is its cost and its profit together.
                changed += _closed(lots, posting, posting.amount + realised, undone_by(entry.name))
            else:
                changed.append(_opened(posting))
    return tuple(changed)


def _opened(posting: Posting) -> Lot:
    assert posting.symbol is not None, posting.entry
    qty, cost = posting.qty, posting.amount
    return Lot(posting.entry, posting.symbol, qty, cost, qty, cost, Money(_ZERO), posting.happened_ns, None)


def _closed(lots: Sequence[Lot], posting: Posting, value: Decimal, first: str | None) -> Iterator[Lot]:
    left = -posting.qty
    taken: list[tuple[Lot, Decimal]] = []
    for lot in sorted(lots, key=lambda lot: lot.entry != first):
        part = lot.qty if abs(lot.qty) <= abs(left) else left
        if part != 0:
            taken.append((lot, part))
            left -= part
    if left != 0:
        raise OurMistake(
            f"entry {posting.entry}: expected lots of {posting.symbol} to close, found {plain(abs(left))} too few"
        )
    shares = _spread(value, [part for _, part in taken])
    for (lot, part), share in zip(taken, shares, strict=True):
        removed = lot.cost if part == lot.qty else round_money(lot.cost * part / lot.qty)
        yield replace(
            lot,
            qty=Quantity(lot.qty - part),
            cost=Money(lot.cost - removed),
            realised=Money(lot.realised - share - removed),
            closed_ns=posting.happened_ns if part == lot.qty else None,
        )


def _split(lots: Sequence[Lot], entry: Entry) -> tuple[Lot, ...]:
    """Share the new quantity out in proportion; the cost of what is too small to be a lot goes to the oldest other."""
    with localcontext(WIDE):
        total = sum((lot.qty for lot in lots), _ZERO) + sum((posting.qty for posting in entry.postings), _ZERO)
        shares = _spread(total, [lot.qty for lot in lots])
        lost = sum((lot.cost for lot, share in zip(lots, shares, strict=True) if share == 0), _ZERO)
        changed = []
        for lot, share in zip(lots, shares, strict=True):
            if share == 0:
                changed.append(replace(lot, qty=Quantity(_ZERO), cost=Money(_ZERO), closed_ns=entry.happened_ns))
            else:
                changed.append(replace(lot, qty=Quantity(share), cost=Money(lot.cost + lost)))
                lost = _ZERO
    return tuple(changed)


def _spread(total: Decimal, weights: Sequence[Decimal]) -> list[Decimal]:
    """Share a total out by weights of one sign, each share rounded to the database's places, their sum exact."""
    shares, whole, upto, before = [], sum(weights, _ZERO), _ZERO, _ZERO
    for weight in weights:
        upto += weight
        reached = total if upto == whole else round_money(total * upto / whole)
        shares.append(reached - before)
        before = reached
    return shares
