"""The live population of virtual traders: draw, clone, iterate, supervise."""
