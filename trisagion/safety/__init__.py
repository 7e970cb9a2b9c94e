"""Control modes and what each of them forbids."""
