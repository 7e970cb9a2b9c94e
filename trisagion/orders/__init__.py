"""Desired − actual → intents; the order state machine; maker pricing."""
