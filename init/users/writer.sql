-- The processes of a platform: rows are added and changed, none is deleted, and no table is made or altered; lots alone
-- are made anew, from the entries. Executions, entries and their postings, control, gates, events and the audit chain are
-- only ever added to. Other tables are so too, by the code, but an insert that leaves alone what is there (see
-- `insert_once` in trisagion/adapters/db/session.py) needs UPDATE: of all columns, as MariaDB checks it.
CREATE USER IF NOT EXISTS '{database}_writer'@'%' IDENTIFIED BY {password};
GRANT SELECT ON schema_migration TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON instrument TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON bar TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON market_step TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON market_state TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON epoch TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON shard TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON shard_progress TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON run TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON reconcile_cycle TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON decision TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON orders TO '{database}_writer'@'%';
GRANT SELECT, INSERT ON execution TO '{database}_writer'@'%';
GRANT SELECT, INSERT ON posting TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON ledger_position TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON observation TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON equity TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON take_profit TO '{database}_writer'@'%';
GRANT SELECT, INSERT ON control TO '{database}_writer'@'%';
GRANT SELECT, INSERT ON event TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON lease TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON replay TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON process TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON shard_mark TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON regime_fit TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON regime_state TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON order_link TO '{database}_writer'@'%';
GRANT SELECT, INSERT ON gate TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON fix_message TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON drop_copy TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON copy_mark TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON egress_event TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON ib_order_id TO '{database}_writer'@'%';
GRANT SELECT, INSERT ON ledger_entry TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE ON ledger_lot TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON ledger_mark TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON bar_day TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON quote_hour TO '{database}_writer'@'%';
GRANT SELECT, INSERT ON audit_note TO '{database}_writer'@'%';
GRANT SELECT, INSERT ON audit_event TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON audit_mark TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON killswitch_beat TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON killswitch_mark TO '{database}_writer'@'%';
GRANT SELECT, INSERT, UPDATE ON incident TO '{database}_writer'@'%';
