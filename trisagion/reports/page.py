"""What the tear sheet's page is made of besides its numbers: style, the reading line, and the word list.

The page asks the network for nothing: system fonts, no images. Blue, teal and orange keep apart for every common kind
of colour blindness and hold 3:1 against both grounds; shapes and words repeat what colour says.
"""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

STYLE: Final = """
:root{color-scheme:light dark;--ground:#fcfbf8;--card:#fff;--ink:#1b1f24;--soft:#5a626b;--rule:#e4e1d9;--gap:#f1eee6;
--account:#0a5ea8;--hold:#767c84;--buy:#0b7269;--sell:#b84a00;--fall:#b84a00;--trending:#0b7269;--noisy:#b9b3a4;
--unknown:#dedacf;--orders:#0a5ea8;--rest:#c9a227;--noorder:#c4c8cd;--unfinished:#b84a00;--alarm:#a11212;--alarmbg:#fdeeee}
@media(prefers-color-scheme:dark){:root{--ground:#13161a;--card:#1a1e23;--ink:#e9e6e0;--soft:#a0a8b1;--rule:#2c3138;
--gap:#20252b;--account:#72b7f2;--hold:#8d96a0;--buy:#49c5b1;--sell:#f09a5c;--fall:#f09a5c;--trending:#35a594;
--noisy:#5d5c57;--unknown:#33373c;--orders:#72b7f2;--rest:#d6b548;--noorder:#454b53;--unfinished:#f09a5c;--alarm:#ff8f8f;
--alarmbg:#33191b}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",Arial,sans-serif;
font-variant-numeric:tabular-nums;-webkit-text-size-adjust:100%}
main{max-width:66rem;margin:0 auto;padding:2rem 1.25rem 4rem}
h1{font-size:1.75rem;line-height:1.2;margin:0 0 .35rem;letter-spacing:-.01em}
h2{font-size:1.15rem;margin:2.6rem 0 .6rem;line-height:1.3}
h3{font-size:.95rem;margin:1.3rem 0 .3rem;font-weight:600}
p{margin:.4rem 0;max-width:46rem}
.lead{font-size:1.1rem}
.soft,figcaption,.note{color:var(--soft)}
.soft,.note{font-size:.875rem}
.state{display:inline-block;border:1px solid var(--rule);border-radius:99px;padding:.05rem .7rem;font-size:.8rem;
color:var(--soft);vertical-align:.3em;margin-left:.5rem;letter-spacing:0;font-weight:400}
.alarm{border-left:4px solid var(--alarm);background:var(--alarmbg);padding:.6rem 1rem;margin:1.2rem 0;
border-radius:0 6px 6px 0}
.alarm strong{color:var(--alarm)}
.alarm ul{margin:.3rem 0;padding-left:1.2rem}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(14.5rem,1fr));gap:1px;background:var(--card);
border:1px solid var(--rule);border-radius:8px;overflow:hidden;margin:1.4rem 0}
.cards div{box-shadow:0 0 0 1px var(--rule);padding:.7rem .9rem}
.cards dt{color:var(--soft);font-size:.82rem}
.cards dd{margin:0;font-size:1.3rem;line-height:1.35;font-weight:600;overflow-wrap:anywhere}
.cards dd.note{font-size:.8rem;font-weight:400;line-height:1.4}
figure{margin:.2rem 0}
.stack{position:relative;touch-action:pan-y}
.panel{display:grid;grid-template-columns:4.6rem minmax(0,1fr);margin-bottom:.5rem}
.panel svg{display:block;width:100%;overflow:visible}
.panel .plot svg{overflow:hidden}
.yaxis text{text-anchor:end}
.panel text{font-size:12px;fill:var(--soft)}
text.x{text-anchor:middle}
.plot path,.plot line{vector-effect:non-scaling-stroke;fill:none}
.plot path.rule{stroke:var(--rule);stroke-width:1}
.plot rect.gap{fill:var(--gap)}
.plot path.zero{stroke:var(--soft);stroke-width:1}
.plot path.account{stroke:var(--account);stroke-width:1.75;stroke-linejoin:round}
.plot path.hold{stroke:var(--hold);stroke-width:1.5;stroke-dasharray:5 4;stroke-linejoin:round}
.plot path.price{stroke:var(--ink);stroke-width:1;stroke-linejoin:round;opacity:.75}
.plot path.fall{fill:var(--fall);fill-opacity:.25;stroke:var(--fall);stroke-width:1}
.plot path.long{fill:var(--account);fill-opacity:.22;stroke:none}
.plot path.qty{stroke:var(--account);stroke-width:1.25}
.plot path.bars{fill:var(--hold);fill-opacity:.55}
.w-trending{fill:var(--trending)!important;background:var(--trending)}
.w-noisy{fill:var(--noisy)!important;background:var(--noisy)}
.w-unknown{fill:var(--unknown)!important;background:var(--unknown)}
.w-orders{fill:var(--orders)!important;background:var(--orders)}
.w-rest{fill:var(--rest)!important;background:var(--rest)}
.w-no-order{fill:var(--noorder)!important;background:var(--noorder)}
.w-unfinished{fill:var(--unfinished)!important;background:var(--unfinished)}
.buy{fill:var(--buy);stroke:var(--ground);stroke-width:.75}
.sell{fill:var(--sell);stroke:var(--ground);stroke-width:.75}
line.epoch{stroke:var(--soft);stroke-width:1;stroke-dasharray:2 3}
line.mark{stroke:var(--account);stroke-width:2}
line.middle{stroke:var(--ink);stroke-width:1.25;stroke-dasharray:4 3}
.panel text.tag{fill:var(--ink);paint-order:stroke;stroke:var(--ground);stroke-width:4px}
.keys{display:flex;flex-wrap:wrap;gap:.15rem 1.1rem;font-size:.82rem;color:var(--soft);margin:.15rem 0 .35rem 4.6rem}
.keys span{display:inline-flex;align-items:center;gap:.4rem}
.keys i{width:1.3rem;height:.7rem;border-radius:2px;display:inline-block}
.keys i.line{height:0;border-top:2.5px solid var(--account);border-radius:0}
.keys i.dash{height:0;border-top:2px dashed var(--hold);border-radius:0}
.keys svg{width:12px;height:12px;overflow:visible}
.read{position:sticky;top:0;z-index:2;background:var(--ground);min-height:1.6rem;padding:.15rem 0 .15rem 4.6rem;
font-size:.85rem;color:var(--soft)}
.read b{color:var(--ink);font-weight:600}
.cross{position:absolute;top:0;bottom:0;width:1px;background:var(--soft);pointer-events:none;display:none}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem;margin:.4rem 0;min-width:min(100%,24rem)}
th,td{padding:.32rem .9rem .32rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--rule)}
td{overflow-wrap:break-word}
th{font-weight:600;color:var(--soft);font-size:.82rem}
td:not(.n):not(:first-child){min-width:7rem}
td.n,th.n{text-align:right}
td.n,td.w{white-space:nowrap}
td.id{overflow-wrap:anywhere;font-family:ui-monospace,"Liberation Mono",Menlo,monospace;font-size:.8rem}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:0 2.5rem}
.bad{color:var(--alarm);font-weight:600}
dl.words{font-size:.9rem;max-width:50rem}
dl.words dt{font-weight:600;margin-top:.5rem}
dl.words dd{margin:0;color:var(--soft)}
@media(max-width:40rem){main{padding:1.2rem .8rem 3rem}h1{font-size:1.4rem}.lead{font-size:1rem}.minor{display:none}
.panel{grid-template-columns:3.6rem minmax(0,1fr)}.panel text{font-size:11px}.keys,.read{padding-left:0;margin-left:0}
.cards{grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr))}.cards dd{font-size:1.1rem}
.state{margin-left:0}tr:has(td.n) td:first-child:not(.n){min-width:7.5rem}}
@media print{.read{display:none}body{background:#fff}}
"""

SCRIPT: Final = """
(()=>{const d=JSON.parse(document.getElementById('samples').textContent),stack=document.querySelector('.stack'),
out=document.querySelector('.read'),cross=document.querySelector('.cross'),rest=out.innerHTML;
const at=e=>{const p=stack.querySelector('.plot').getBoundingClientRect(),x=(e.clientX-p.left)/p.width;
if(x<0||x>1||!d.x.length)return leave();let a=0,b=d.x.length-1;
while(b-a>1){const m=(a+b)>>1;d.x[m]<=x?a=m:b=m}const i=Math.abs(d.x[a]-x)<Math.abs(d.x[b]-x)?a:b;
cross.style.display='block';cross.style.left=p.left-stack.getBoundingClientRect().left+d.x[i]*p.width+'px';
out.textContent='';const say=(k,v)=>{const b=document.createElement('b');b.textContent=v;out.append(k+' ',b,'   ')};
say('',new Date(d.t[i]).toISOString().slice(0,16).replace('T',' ')+' UTC');say('P&L',d.pl[i]);
for(const m of d.m||[d]){const s=m.s?m.s+' ':'';say(s+'price',m.px[i]);say(s+'position',m.q[i]);
say(s+'regime',m.r[i])}};
const leave=()=>{cross.style.display='none';out.innerHTML=rest};
stack.addEventListener('pointermove',at);stack.addEventListener('pointerdown',at);
stack.addEventListener('pointerleave',leave)})();
"""

MARKERS: Final = (
    '<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs>'
    '<path id="buy" class="buy" d="M0 2L5.5 11H-5.5Z"/>'
    '<path id="sell" class="sell" d="M0 -2L5.5 -11H-5.5Z"/></defs></svg>'
)
"""Buys point up from below the price, sells down from above; their tips touch it."""

WORDS: Final = (
    ("Run", "One virtual trader of the cohort: a parameter set with its own virtual account. Runs never send orders."),
    ("Cohort", "All runs that live at the same time; the account follows those of them that win now."),
    ("Epoch", "A generation of the cohort; it ends when the account takes its profit, or when a draw-down resets it."),
    (
        "Cycle",
        "One reconciliation: an order for what desired and actual position differ by. In a rest nothing is traded.",
    ),
    ("P&L", "Equity less the starting equity: realised, less fees, plus the open position at the last trade."),
    ("Draw-down", "How far equity lies below its highest value so far, as a fraction of that value."),
    (
        "Sharpe ratio",
        (
            "Mean return over its standard deviation, from mark to mark, times the square root of the marks in a year. "
            "The interval allows for skew and fat tails (Lo 2002; Mertens 2002)."
        ),
    ),
    (
        "Time to prove",
        (
            "How long such results would have to go on until chance is excluded with 95 % "
            "(minimum track record length, Bailey and López de Prado 2012)."
        ),
    ),
    (
        "Luck",
        (
            "The Sharpe ratio that the best of as many tries as there were runs would show without any skill "
            "(Bailey and López de Prado 2014)."
        ),
    ),
    (
        "Skill beyond luck",
        (
            "The deflated Sharpe ratio: the chance that the true Sharpe ratio is above Luck, skew and fat "
            "tails allowed for (Bailey and López de Prado 2014)."
        ),
    ),
    (
        "Clones less draws",
        (
            "Mean P&L per notional traded of clones less that of random draws born at the same instant, with a "
            "bias-corrected and accelerated bootstrap interval over hours (Efron 1987)."
        ),
    ),
    (
        "Overfitting",
        (
            "How often the run with the best Sharpe ratio in one half of the time is no better than the median in the "
            "other, over all ways to halve its blocks (Bailey, Borwein, López de Prado and Zhu 2016)."
        ),
    ),
    ("Leverage", "Mean of the position's notional over equity, marked each minute."),
    ("Maker share", "Share of the filled quantity that waited in the book instead of taking from it."),
    ("Round trip", "From flat to flat; it is won when something is left after fees."),
    (
        "Place in the cohort",
        (
            "Percentile of the account among all runs that traded, by P&L before fees per notional traded, "
            "a measure free of size, leverage and tariff."
        ),
    ),
    (
        "Regime",
        (
            "Trending while the permutation entropy of the market weight's sign is low, noisy while it is high, "
            "unknown while there are too few samples."
        ),
    ),
    ("bp", "Basis point: one hundredth of one per cent."),
)


def say(text: str) -> str:
    """Escape text; a number keeps its per cent sign on its line."""
    return escape(text).replace(" %", "&nbsp;%")


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numeric: frozenset[int] | set[int] = frozenset(),
    ids: frozenset[int] | set[int] = frozenset(),
    whole: frozenset[int] | set[int] = frozenset(),
) -> str:
    """Return a table; every cell is escaped.

    `numeric` columns are set right, `ids` columns may break anywhere, `whole` ones nowhere.
    """
    words = {**dict.fromkeys(numeric, "n"), **dict.fromkeys(ids, "id"), **dict.fromkeys(whole, "w")}
    kinds = [f' class="{words[i]}"' if i in words else "" for i in range(len(heads))]
    head = "".join(
        f'<th scope="col"{kind if "n" in kind else ""}>{escape(text)}</th>'
        for kind, text in zip(kinds, heads, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{say(cell)}</td>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>"
        for row in rows
    )
    shown_head = f"<thead><tr>{head}</tr></thead>" if any(heads) else ""
    return f'<div class="scroll"><table>{shown_head}<tbody>{body}</tbody></table></div>'
