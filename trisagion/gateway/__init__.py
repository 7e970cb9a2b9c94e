"""Orders as FIX 4.4 messages and back, as plain values: no sockets, no engine, no clock."""
