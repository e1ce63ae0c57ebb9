"""certrotd with the example wing beside the certificates."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from certrotd.__main__ import main
from certrotd.daemon import wings

if __name__ == "__main__":
    wings.MODULES.append("tests.wings.token_files")
    main()
