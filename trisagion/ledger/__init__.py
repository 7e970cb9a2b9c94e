"""Fills → postings → positions, cash, fees and P&L; the steps of a take-profit."""
