"""`python -m memorymaps`."""

import sys

from memorymaps.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
