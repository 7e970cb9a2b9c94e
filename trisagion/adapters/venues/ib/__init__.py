"""Interactive Brokers: our session with TWS, and the bundled TWS simulator."""
