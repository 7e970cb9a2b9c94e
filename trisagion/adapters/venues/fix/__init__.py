"""FIX 4.4 over QuickFIX: our side of a session, and the bundled venue that answers it."""
