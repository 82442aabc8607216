"""`python -m memorymaps`."""

import sys

from memorymaps.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
