-- The processes of a platform: rows are added and changed, none is deleted, and no table is made or altered. What is
-- only ever added to cannot be changed either, but for the one column to which an insert of what is there sets its own
-- value (see `insert_once` in trisagion/adapters/db/session.py).
CREATE USER IF NOT EXISTS '{database}_writer'@'%' IDENTIFIED BY {password};
GRANT SELECT ON schema_migration TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE (symbol) ON instrument TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE (close_ns) ON bar TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE (at_ns) ON market_step TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE (at_ns) ON market_state TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON epoch TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON shard TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE (shard) ON shard_progress TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON run TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON reconcile_cycle TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE (symbol) ON decision TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON orders TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE (venue) ON execution TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE (line) ON posting TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON ledger_position TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON observation TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE (symbol) ON equity TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE (epoch) ON take_profit TO '{database}_writer'@'%';
GRANT SELECT, INSERT ON control TO '{database}_writer'@'%';
GRANT SELECT, INSERT ON event TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON lease TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON replay TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON process TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE (shard) ON shard_mark TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE (last_ns) ON regime_fit TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE (at_ns) ON regime_state TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE (cl_ord_id) ON order_link TO '{database}_writer'@'%';
GRANT SELECT, INSERT ON gate TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE (number) ON fix_message TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON drop_copy TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON copy_mark TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE (session) ON egress_event TO '{database}_writer'@'%';
