"""The sources of observers outside the platform: statements on disk or by HTTP, an account at Interactive Brokers."""
