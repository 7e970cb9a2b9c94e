-- Why: a venue may charge a fee in another currency than the instrument's; NULL is the instrument's own, as ever
-- How long: at once on MariaDB and MySQL, which add a last column without touching rows, and on SQLite
-- Locks: execution, for a moment
-- Safe while trading: yes
-- Check: SELECT COUNT(*) FROM information_schema.columns
--     WHERE table_schema = DATABASE() AND table_name = 'execution' AND column_name = 'fee_currency'
-- Check on SQLite: SELECT COUNT(*) FROM pragma_table_info('execution') WHERE name = 'fee_currency'
-- Undo: ALTER TABLE execution DROP COLUMN fee_currency
ALTER TABLE execution ADD COLUMN fee_currency VARCHAR(16) NULL;
