"""One file per use case: read through ports, let the rooms decide, write in one transaction, say what came of it."""
