"""Channels: directions that heads write, read, turned, swept and edited."""
