"""Listen to the hardware kill switch: take its heart-beats, and engage when it is pressed, silent or not itself."""

from trisagion.ports import Database
from trisagion.safety.beats import Finding, WatchRules, judge
from trisagion.safety.modes import Mode, stricter
from trisagion.services.control import engage


def watch(database: Database, rules: WatchRules, now_ns: int) -> Finding:
    """Look at the switch once; where nothing is new this only reads.

    What it demands it demands at every look: an operator who releases the platform while the button is pressed has it
    engaged again at once.
    """
    with database.snapshot() as tx:
        mark = tx.switches.mark(rules.name)
        found = judge(tx.switches.beat(rules.name), mark, tx.control.wall_ns(), rules)
        present = tx.control.control().mode
    if found.mark != mark:
        found = _take(database, rules, now_ns)
    if found.mode is not Mode.NORMAL and stricter(found.mode, present):
        engage(database, found.mode, f"killswitch {rules.name}", found.reason, now_ns)
    return found


def _take(database: Database, rules: WatchRules, now_ns: int) -> Finding:
    """Judge again, as what is written stands; each refused row is an event, once."""
    with database.transaction() as tx:
        mark = tx.switches.mark(rules.name)
        beat = tx.switches.beat(rules.name)
        found = judge(beat, mark, tx.control.wall_ns(), rules)
        tx.switches.put_mark(found.mark)
        if found.refusal is not None and (mark is None or found.mark.refused != mark.refused):
            told = {"why": found.refusal.name.lower(), "row": repr(beat)[:500]}
            tx.control.add_event("killswitch.refused", rules.name, told, now_ns)
    return found
