"""``python -m appliance.daemon``: what the unit and ``edgecam run`` start."""

import sys

from appliance.daemon.main import main

sys.exit(main())
