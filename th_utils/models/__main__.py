"""`python -m th_utils.models list` and `python -m th_utils.models fetch [name]`."""

from .loading import main

raise SystemExit(main())
