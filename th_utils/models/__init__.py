"""Models: what is known of each, where its files come from, how it is brought into shape."""

import os

for _switch in ("HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):  # read when the hub library is imported
    os.environ.setdefault(_switch, "1")
