"""Trains detectors for the device from pictures with boxes. Needs PyTorch: pip install 'edgecam[train]'."""
