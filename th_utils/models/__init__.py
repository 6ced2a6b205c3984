"""Models: what is known of each, where its files come from, how it is brought into shape."""

import os

import lazy_loader

for _switch in ("HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):  # read when the hub library is imported
    os.environ.setdefault(_switch, "1")
__getattr__, __dir__, _ = lazy_loader.attach(__name__, ["laws", "parts", "state"])
