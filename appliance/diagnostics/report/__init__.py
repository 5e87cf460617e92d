"""A report for those who help: what is needed to understand a device from afar, and no secret."""
