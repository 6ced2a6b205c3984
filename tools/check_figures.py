"""An IPython start-up file: kernels of the build refuse figures that break the house style (tests/house_style.py).

build.py links it into the build's IPYTHONDIR; a reader's kernel knows nothing of it.
"""


def _install():
    import os
    import sys
    import traceback
    from pathlib import Path

    tests = str(Path(__file__).resolve().parents[1] / "tests")
    sys.path.append(tests)
    try:
        import house_style

        house_style.install()
    except BaseException:  # IPython would only warn, and the chapter would run with figures that nobody checks
        traceback.print_exc()
        os._exit(1)
    finally:
        sys.path.remove(tests)


_install()
del _install
