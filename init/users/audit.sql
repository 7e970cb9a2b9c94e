-- Whoever only reports: it adds events, sees nothing, and can take nothing back.
CREATE USER IF NOT EXISTS '{database}_audit'@'%' IDENTIFIED BY {password};
GRANT INSERT ON event TO '{database}_audit'@'%';
GRANT INSERT ON audit_note TO '{database}_audit'@'%';
