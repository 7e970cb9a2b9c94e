"""trisagion: a distributed task-queue trading platform; see README.md for the map of the house."""

__version__ = "0.1.0"
