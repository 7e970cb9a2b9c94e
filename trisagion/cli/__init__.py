"""The console: `trisagion COMMAND`. Each command is a module here, imported when it is called."""
