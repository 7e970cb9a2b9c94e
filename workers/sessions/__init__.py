"""Worker boot steps that own a venue connection: one worker process per session."""
