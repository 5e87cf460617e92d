"""edgecam-workbench: what happens to models on a workstation, never on the device."""
