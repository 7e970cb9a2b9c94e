"""Limits and verdicts; only this room makes an `Approved` intent."""
