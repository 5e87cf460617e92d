"""Discovery by Home Assistant: what it shows of a device, told and taken back. Loaded only where it is asked for."""
