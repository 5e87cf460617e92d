"""From one trained network to the formats of other runtimes, each compared with it; on a workstation."""
