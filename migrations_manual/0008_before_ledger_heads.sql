-- Why: balances and lots are read by the heads of entries, and the entries of 0.1.0 have none
-- How long: a second for 100,000 postings (SQLite)
-- Locks: posting, for reading; whoever books waits
-- Safe while trading: no: what older code books after it has no head. Stop the platform, and start the new code
-- Check: SELECT COUNT(*) FROM (SELECT 1 AS complete) AS one WHERE NOT EXISTS (SELECT 1 FROM posting
--     WHERE NOT EXISTS (SELECT 1 FROM ledger_entry WHERE ledger_entry.entry = posting.entry))
-- Check on SQLite: SELECT COUNT(*) FROM (SELECT 1 AS complete) AS one WHERE NOT EXISTS (SELECT 1 FROM posting
--     WHERE NOT EXISTS (SELECT 1 FROM ledger_entry WHERE ledger_entry.entry = posting.entry))
-- Undo: DELETE FROM ledger_entry
INSERT INTO ledger_entry (entry, kind, strategy, currency, happened_ns, line_count)
SELECT entry,
    CASE WHEN entry = 'opening' THEN 'opening' WHEN entry LIKE '%/undo' THEN 'undo' ELSE 'trade' END,
    CASE WHEN entry = 'opening' THEN 'house' ELSE 'cohort' END,
    (SELECT MIN(currency) FROM instrument),
    MIN(happened_ns), COUNT(*)
FROM posting
WHERE NOT EXISTS (SELECT 1 FROM ledger_entry WHERE ledger_entry.entry = posting.entry)
GROUP BY entry
ORDER BY MIN(happened_ns), MIN(CASE WHEN entry = 'opening' THEN 0 ELSE 1 END), entry;
