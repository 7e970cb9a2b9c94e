-- Why: how often a strategy was filled on one side of a symbol is counted at each fill, by an index
-- How long: a second for 200,000 executions (SQLite), a few on MariaDB
-- Locks: execution, for writing on SQLite; on MariaDB and MySQL the index is made while others write
-- Safe while trading: yes on MariaDB and MySQL; on SQLite whoever books waits
-- Check: SELECT COUNT(*) FROM (SELECT DISTINCT index_name FROM information_schema.statistics
--     WHERE table_schema = DATABASE() AND table_name = 'execution' AND index_name = 'execution_by_fill') AS one
-- Check on SQLite: SELECT COUNT(*) FROM sqlite_master WHERE type = 'index' AND name = 'execution_by_fill'
-- Undo: DROP INDEX execution_by_fill ON execution
CREATE INDEX execution_by_fill ON execution (symbol, side, happened_ns);
