"""Which release this is: on the ground floor, for every room may have to say it."""

from typing import Final

VERSION: Final = "0.1.0"
