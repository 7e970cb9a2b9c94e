"""Desired direction → desired position: sizing under a margin budget."""
