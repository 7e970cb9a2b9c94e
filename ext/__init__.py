"""Compiled kernels, each with its plain-Python twin."""
