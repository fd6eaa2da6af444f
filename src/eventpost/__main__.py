"""`python -m eventpost` is `eventpost`."""

import sys

from eventpost.cli.main import main

sys.exit(main())
