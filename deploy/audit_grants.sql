-- Users of the database that keep the audit chain insert-only, on MariaDB or MySQL: replace trisagion by the name of the
-- database, and give each user its password. Run it after `python -m init`, as a user who may grant.
--
-- trisagion_trade: every process but the chain's writer. It adds records and can neither read, change nor remove one.
-- trisagion_audit: the writer (a worker of queue control, `trisagion audit anchor`). It moves records into the chain.
CREATE USER IF NOT EXISTS 'trisagion_trade'@'%' IDENTIFIED BY 'change me';
CREATE USER IF NOT EXISTS 'trisagion_audit'@'%' IDENTIFIED BY 'change me';
GRANT INSERT ON trisagion.audit_outbox TO 'trisagion_trade'@'%';
GRANT SELECT, DELETE ON trisagion.audit_outbox TO 'trisagion_audit'@'%';
GRANT SELECT, INSERT ON trisagion.audit_event TO 'trisagion_audit'@'%';
GRANT SELECT, INSERT, UPDATE ON trisagion.lease TO 'trisagion_audit'@'%';
GRANT INSERT ON trisagion.event TO 'trisagion_audit'@'%';
GRANT INSERT ON trisagion.audit_outbox TO 'trisagion_audit'@'%';
