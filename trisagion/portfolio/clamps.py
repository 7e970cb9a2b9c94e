"""Eight clamps between the position that the votes are worth and the one that is aimed at.

They are applied in the order of `CLAMPS`, each to what the one before it has left. A clamp only ever makes a position
smaller: none turns its sign, and none asks for more than was wanted. Each says what it saw, also where it let all pass.

Volatility and crisis leave a share of the wish; the others are caps. Where a cap is one on a sum over the account, what
is held and what is added are treated apart:

    added   as much as there is room for beside all else
    held    cut in proportion, when the sum is too large as it stands: if every symbol is cut so, it is what it may be

So whoever is decided on first, in the order of symbols, has the room, and nobody has to make room for another.

What is not known is never a reason to have more; each clamp says what it takes the unknown for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal, localcontext
from typing import Final, Protocol

from trisagion.market.types import Float64Array
from trisagion.portfolio.sizing import exact_factor
from trisagion.regime.classify import MarketRegime
from trisagion.units import SCALE, WIDE, Money, plain

DAYS_A_YEAR: Final = 252
"""Days of trade by which volatilities are told for a year, as is customary."""

HEAT_DEVIATIONS: Final = 3
"""Without a stop a unit may lose so many deviations of a day."""

UNKNOWN_SHARE: Final = Decimal("0.25")
"""What is left of a wish or a ceiling where its measure is unknown: as much as on probation (domain, section 4)."""

HALVINGS: Final = 8
"""How often the search for the largest share that the tail allows is halved: to a 256th of the wish."""

_ZERO: Final = Decimal(0)
_ONE: Final = Decimal(1)
_STEP: Final = _ONE.scaleb(-SCALE)


@dataclass(frozen=True, slots=True)
class ClampRules:
    """Limits of the clamps, None where one is off; fractions and multiples of equity unless said otherwise.

    `volatility_max` is of a year, `crisis_share` of the wish, `correlation_max` a correlation. Statistics are of the
    last `returns` minutes; volatility forgets half in `half_life_min`; a day has `day_min` minutes of trade.
    """

    kelly_max: Decimal | None = None
    volatility_max: Decimal | None = None
    crisis_share: Decimal | None = None
    concentration_max: Decimal | None = None
    correlation_max: Decimal = Decimal("0.7")
    heat_max: Decimal | None = Decimal("0.25")
    leverage_max: Decimal | None = Decimal(3)
    var_max: Decimal | None = None
    es_max: Decimal | None = None
    returns: int = 500
    half_life_min: int = 60
    day_min: int = 1380

    @property
    def has_tail(self) -> bool:
        """Tell whether the tail is held to a limit."""
        return self.var_max is not None or self.es_max is not None

    @property
    def reads_returns(self) -> bool:
        """Tell whether any clamp looks at returns."""
        limits = (self.volatility_max, self.concentration_max, self.heat_max)
        return self.has_tail or any(limit is not None for limit in limits)

    @property
    def looks(self) -> bool:
        """Tell whether any clamp is on."""
        return self.reads_returns or any(
            limit is not None for limit in (self.kelly_max, self.crisis_share, self.leverage_max)
        )


class TailLike(Protocol):
    """A value at risk and a shortfall, of the same horizon, in money."""

    @property
    def var(self) -> float:
        """Value at risk."""
        ...

    @property
    def es(self) -> float:
        """Expected shortfall."""
        ...

    @property
    def method(self) -> str:
        """Whose they are."""
        ...


Measure = Callable[[Float64Array, int], TailLike | None]
"""`portfolio.tails.worst`, or another measure of the P&L of each minute over a number of minutes."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the clamps look at for one symbol; in the account's money.

    Attributes
    ----------
    equity : Money
    unit : Decimal
        What a unit is worth, above 0.
    held : Decimal
        The position now, signed.
    risk : Decimal
        What a unit may lose, from `unit_risk`.
    kelly : float or None
        The Kelly percentage of the living cohort, as a fraction.
    deviation : float or None
        Of the return of a day.
    regime : str or None
        The state of the market; None where nobody has judged it lately.
    alike, heat, gross : Decimal
        Of all other positions: the worth of those that are the same bet as the wish, what all may lose, and the worth
        of those at the same venue. Each not negative, with the live orders at their worst.
    pnl : float64, shape (n,), or None
        Of a unit in each of the last minutes; None where it is unknown.
    others : sequence of float64, shape (n,), or None
        P&L of all other positions together, as they are held and as they would be with their live orders.
    """

    equity: Money
    unit: Decimal
    held: Decimal
    risk: Decimal
    kelly: float | None = None
    deviation: float | None = None
    regime: str | None = None
    alike: Decimal = _ZERO
    heat: Decimal = _ZERO
    gross: Decimal = _ZERO
    pnl: Float64Array | None = None
    others: Sequence[Float64Array] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a clamp allows, unsigned, and what it saw: a measure and its limit, as "0.31/0.25"."""

    allowed: Decimal
    seen: str


@dataclass(frozen=True, slots=True)
class Clamped:
    """The position that is left, signed, and the reasons: what all saw, then one for each that took something."""

    qty: Decimal
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Clamp:
    """One clamp: its name, the code of its reason, what it holds to what, and what it does with the unknown."""

    name: str
    code: str
    what: str
    unknown: str
    settings: tuple[str, ...]
    find: Callable[[Decimal, Facts, ClampRules, Measure | None], Found | None]


def clamped(wanted: Decimal, facts: Facts, rules: ClampRules, measure: Measure | None = None) -> Clamped:
    """Return a wish as far as the clamps let it pass.

    Parameters
    ----------
    wanted : Decimal
        Signed, in units of the instrument. Nothing wanted is never clamped.
    facts : Facts
    rules : ClampRules
    measure : callable, optional
        Of the tail; needed with `var_max` or `es_max`.

    Returns
    -------
    Clamped
        Quantised to `SCALE` places toward zero. Without any equity nothing is left.
    """
    assert facts.unit > 0, f"expected a unit that is worth something, found {facts.unit}"
    assert measure is not None or not rules.has_tail, "expected a measure with limits on the tail, found none"
    if not wanted or not rules.looks:
        return Clamped(wanted, ())
    size, long = abs(wanted), wanted > 0
    told: list[str] = []
    bound: list[str] = []
    for clamp in CLAMPS:
        wish = size if long else -size
        found = clamp.find(wish, facts, rules, measure) if facts.equity > 0 else Found(_ZERO, "spent")
        if found is None:
            told.append(f"{clamp.name}=off")
            continue
        told.append(f"{clamp.name}={found.seen}")
        with localcontext(WIDE):
            allowed = min(found.allowed, size).quantize(_STEP, rounding=ROUND_DOWN)
        assert 0 <= allowed <= size, f"{clamp.name} allows {allowed} of {size}"
        if allowed < size:
            numbers = [plain(each if long else -each) for each in (size, allowed)]
            bound.append(f"{clamp.code}: wanted={numbers[0]} allowed={numbers[1]} {clamp.name}={found.seen}")
            size = allowed
    return Clamped(size if long else -size, (f"CLAMPS: {' '.join(told)}", *bound))


def unit_risk(unit: Decimal, stop: Decimal | None, deviation: float | None, leverage_max: Decimal) -> Decimal:
    """Return what a unit may lose: down to its stop, else `HEAT_DEVIATIONS` of a day, else the venue's margin for it.

    The margin that a venue asks for is its own word on a bad day, and stands in where too few returns are known.
    """
    with localcontext(WIDE):
        if stop is not None:
            return min(stop, unit)
        if deviation is None:
            return (unit / leverage_max).quantize(_STEP)
        return min(unit * exact_factor(deviation) * HEAT_DEVIATIONS, unit)


def _kelly(wanted: Decimal, facts: Facts, rules: ClampRules, _: Measure | None) -> Found | None:
    most = rules.kelly_max
    if most is None:
        return None
    if facts.kelly is None:
        share, seen = most * UNKNOWN_SHARE, f"unknown/{plain(most)}"
    else:
        share, seen = min(exact_factor(max(facts.kelly, 0.0)), most), f"{facts.kelly:.6g}/{plain(most)}"
    return Found(_cap(wanted, facts, share), seen)


def _volatility(wanted: Decimal, facts: Facts, rules: ClampRules, _: Measure | None) -> Found | None:
    most = rules.volatility_max
    if most is None:
        return None
    if facts.deviation is None:
        return Found(_share(wanted, UNKNOWN_SHARE), f"unknown/{plain(most)}")
    yearly = facts.deviation * DAYS_A_YEAR**0.5
    factor = exact_factor(min(float(most) / yearly, 1.0)) if yearly else _ONE
    return Found(_share(wanted, factor), f"{yearly:.6g}/{plain(most)}")


def _crisis(wanted: Decimal, facts: Facts, rules: ClampRules, _: Measure | None) -> Found | None:
    share = rules.crisis_share
    if share is None:
        return None
    calm = facts.regime in set(MarketRegime) - {MarketRegime.CRISIS}
    return Found(abs(wanted) if calm else _share(wanted, share), facts.regime or "unknown")


def _concentration(wanted: Decimal, facts: Facts, rules: ClampRules, _: Measure | None) -> Found | None:
    most = rules.concentration_max
    if most is None:
        return None
    return Found(_cap(wanted, facts, most), _of_equity(WIDE.multiply(abs(wanted), facts.unit), most, facts))


def _correlation(wanted: Decimal, facts: Facts, rules: ClampRules, _: Measure | None) -> Found | None:
    most = rules.concentration_max
    return None if most is None else _beside(wanted, facts, facts.unit, facts.alike, most)


def _heat(wanted: Decimal, facts: Facts, rules: ClampRules, _: Measure | None) -> Found | None:
    most = rules.heat_max
    return None if most is None else _beside(wanted, facts, facts.risk, facts.heat, most)


def _leverage(wanted: Decimal, facts: Facts, rules: ClampRules, _: Measure | None) -> Found | None:
    most = rules.leverage_max
    return None if most is None else _beside(wanted, facts, facts.unit, facts.gross, most)


def _tail(wanted: Decimal, facts: Facts, rules: ClampRules, measure: Measure | None) -> Found | None:
    if measure is None or not rules.has_tail:
        return None
    limits = "/".join("off" if most is None else plain(most) for most in (rules.var_max, rules.es_max))
    stay = _held_of(wanted, facts)
    whole = _use(wanted, facts, rules, measure)
    if whole is None:
        return Found(stay, f"unknown/{limits}")
    use, seen = whole
    seen = f"{seen}/{limits}"
    if use <= 1.0:
        return Found(abs(wanted), seen)
    bare = _use(_ZERO, facts, rules, measure)
    if bare is not None and use <= bare[0]:
        # Too much without it already, and it makes that no worse.
        return Found(abs(wanted), seen)
    room = _ZERO
    if bare is None or bare[0] <= 1.0:
        low, step = 0, 1 << HALVINGS
        for _ in range(HALVINGS):
            step //= 2
            tried = _use(_share(wanted, Decimal(low + step) / (1 << HALVINGS), signed=True), facts, rules, measure)
            low += step if tried is not None and tried[0] <= 1.0 else 0
        room = _share(wanted, Decimal(low) / (1 << HALVINGS))
    held = abs(facts.held)
    there = _use(held.copy_sign(wanted), facts, rules, measure) if stay else None
    if there is not None and there[0] > 1.0:
        stay = min(stay, _share(held, exact_factor(1.0 / there[0])))
    return Found(max(room, stay), seen)


def _use(qty: Decimal, facts: Facts, rules: ClampRules, measure: Measure) -> tuple[float, str] | None:
    """Return how much of the limits on the tail a position uses up beside all others, and what was measured."""
    if facts.others is None or (facts.pnl is None and qty):
        return None
    equity, worst = float(facts.equity), (-1.0, "")
    for others in facts.others:
        pnl = others if facts.pnl is None else others + float(qty) * facts.pnl
        tail = measure(pnl, rules.day_min)
        if tail is None:
            return None
        uses = [
            value / equity / float(most)
            for value, most in ((tail.var, rules.var_max), (tail.es, rules.es_max))
            if most is not None
        ]
        worst = max(worst, (max(uses), f"{tail.var / equity:.6g},{tail.es / equity:.6g},{tail.method}"))
    return worst


def _held_of(wanted: Decimal, facts: Facts) -> Decimal:
    """Return as much of a wish as is held already: nothing of one for the other side."""
    return min(abs(wanted), abs(facts.held)) if wanted * facts.held > 0 else _ZERO


def _beside(wanted: Decimal, facts: Facts, each: Decimal, others: Decimal, most: Decimal) -> Found:
    """Hold the sum of what a position and all others amount to, `each` for a unit, to a multiple of equity."""
    with localcontext(WIDE):
        size, limit = abs(wanted), facts.equity * most
        total = others + size * each
        seen = _of_equity(total, most, facts)
        if total <= limit or not each:
            return Found(size, seen)
        room = max(limit - others, _ZERO) / each
        stay = _held_of(wanted, facts)
        if stay:
            held = abs(facts.held)
            stay = min(stay, held * min(limit / (others + held * each), _ONE))
        return Found(min(max(room, stay), size), seen)


def _cap(wanted: Decimal, facts: Facts, share: Decimal) -> Decimal:
    with localcontext(WIDE):
        return min(abs(wanted), facts.equity * share / facts.unit)


def _share(wanted: Decimal, share: Decimal, *, signed: bool = False) -> Decimal:
    with localcontext(WIDE):
        part = wanted * share
        return part if signed else abs(part)


def _of_equity(money: Decimal, most: Decimal, facts: Facts) -> str:
    return f"{float(WIDE.divide(money, facts.equity)):.6g}/{plain(most)}"


CLAMPS: Final = (
    Clamp(
        "kelly",
        "KELLY_CLAMPED",
        "worth of the position: the Kelly percentage of the living cohort, and never more than the ceiling",
        "a quarter of the ceiling",
        ("kelly_max",),
        _kelly,
    ),
    Clamp(
        "volatility",
        "VOLATILITY_CLAMPED",
        "the wish by target over forecast, at most 1; the forecast is the weighted deviation of one-minute returns",
        "a quarter of the wish",
        ("volatility_max",),
        _volatility,
    ),
    Clamp(
        "crisis",
        "CRISIS_CLAMPED",
        "the share of the wish that is left while the classifier says `crisis`",
        "as in a crisis",
        ("crisis_share",),
        _crisis,
    ),
    Clamp(
        "concentration",
        "CONCENTRATION_CLAMPED",
        "worth of the position in one symbol",
        "never unknown",
        ("concentration_max",),
        _concentration,
    ),
    Clamp(
        "correlation",
        "CORRELATION_CLAMPED",
        "worth of all positions that are one bet, by the same limit: those whose returns correlate beyond this",
        "taken for one bet",
        ("correlation_max", "concentration_max"),
        _correlation,
    ),
    Clamp(
        "heat",
        "HEAT_CLAMPED",
        "what all positions may lose: down to the stop where there is one, else three deviations of a day",
        "the venue's margin",
        ("heat_max",),
        _heat,
    ),
    Clamp(
        "leverage",
        "LEVERAGE_CLAMPED",
        "worth of all positions at a venue",
        "never unknown",
        ("leverage_max",),
        _leverage,
    ),
    Clamp(
        "tail",
        "TAIL_CLAMPED",
        "value at risk and shortfall of a day at 99 %: the worst of history, normal or Student, and Pareto tail",
        "no more than is held",
        ("var_max", "es_max"),
        _tail,
    ),
)
"""All of them, in the order in which they are applied."""
