"""From features to one market state that all runs on a symbol share."""
