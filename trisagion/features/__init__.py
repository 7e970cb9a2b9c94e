"""Indicators of one symbol, computed from closed bars."""
