"""What a process has loaded for good."""

from __future__ import annotations

import gc


def keep_what_is_loaded() -> None:
    """To be called once, when everything is imported and nothing has been served yet.

    Modules, classes and the like are there as long as the process. Python's collector would look
    through all of them again whenever enough new objects have survived, which a busy process makes
    it do all the time.
    """
    gc.collect()
    gc.freeze()
