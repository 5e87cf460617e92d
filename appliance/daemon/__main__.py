"""``python -m appliance.daemon``: what the unit and ``edgecam run`` start."""

import signal
import sys

if __name__ == "__main__":
    # until the daemon listens for it, Ctrl-C simply ends the process
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    from appliance.daemon.lean import keep_out

    keep_out()
    from appliance.daemon.main import main

    sys.exit(main())
