"""Say clearly if this Python or this machine will not do; runs on any Python 3."""

import platform
import sys

problems = []
if not (3, 11) <= sys.version_info[:2] < (3, 15):
    problems.append(
        "Python 3.11 to 3.14 is needed and "
        + sys.executable
        + " is "
        + platform.python_version()
        + ": name another, for example make demo PYTHON=python3.13"
    )
if platform.system() not in ("Linux", "Darwin"):
    problems.append("It runs on Linux and macOS (on Windows inside WSL), not on " + sys.platform)
if platform.machine().lower() not in ("x86_64", "amd64", "aarch64", "arm64"):
    problems.append("It runs on x86-64 and ARM 64, not on " + platform.machine())
try:
    import ensurepip  # noqa: F401
except ImportError:
    problems.append("Python's venv module is missing: on Debian and Ubuntu install python3-venv")
if problems:
    sys.exit("\n".join(problems))
