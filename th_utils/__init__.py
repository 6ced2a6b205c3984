"""Helpers of the Talking Heads book: head SVDs, composition scores, path patching, channels, weight edits.

The public names stand in `__init__.pyi`. `import th_utils as th` is light: PyTorch and the model libraries are loaded
when a name is first used.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
