"""`beam/` needs Beam, which is in an environment of its own: `make test-frameworks`."""

import os

collect_ignore = [] if os.environ.get("TRADEWIND_TEST_FRAMEWORK") == "beam" else ["beam"]
