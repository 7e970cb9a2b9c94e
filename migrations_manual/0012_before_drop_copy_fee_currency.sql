-- Why: what the drop copy tells of a fee is booked when the session did not tell it, in its own currency too
-- How long: at once on MariaDB and MySQL, which add a last column without touching rows, and on SQLite
-- Locks: drop_copy, for a moment
-- Safe while trading: yes
-- Check: SELECT COUNT(*) FROM information_schema.columns
--     WHERE table_schema = DATABASE() AND table_name = 'drop_copy' AND column_name = 'fee_currency'
-- Check on SQLite: SELECT COUNT(*) FROM pragma_table_info('drop_copy') WHERE name = 'fee_currency'
-- Undo: ALTER TABLE drop_copy DROP COLUMN fee_currency
ALTER TABLE drop_copy ADD COLUMN fee_currency VARCHAR(16) NULL;
