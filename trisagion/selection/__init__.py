"""Which runs have earned capital, and how sure we are: votes and the Kelly percentage."""
