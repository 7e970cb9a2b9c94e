"""What was observed: instruments, tapes, bars, quotes, data quality and the rest calendar."""
