"""Numbers for people: a replay as values, its figures with their formulas, checks on itself, and the tear sheet."""
