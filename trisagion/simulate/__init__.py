"""A venue in plain Python: a matching engine that plays a tape of real trades, and the FIX words it is spoken to in."""
