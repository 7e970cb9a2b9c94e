"""Interactive Brokers: the bundled TWS simulator."""
