"""FIX over QuickFIX: our side of a session, and the bundled venue that answers it."""
