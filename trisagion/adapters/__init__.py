"""Every driver: database, venues, files, servers and processes. The only rooms that do I/O."""
