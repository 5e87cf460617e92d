"""`edgecam`: the operator's command. Quick to start; each command loads what it needs when it is run."""
