"""The doctor: looks at the machine and the service, whether the daemon runs or not."""
