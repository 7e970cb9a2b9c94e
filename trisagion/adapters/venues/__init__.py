"""Drivers of the venues that orders go to."""
