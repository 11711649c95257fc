import subprocess
import sys

HEAVY = ("torch", "pandas", "altair", "vl_convert", "jinja2", "rich", "scipy")


def test_the_package_imports_nothing_heavy() -> None:
    code = f"import sys, prunemark.reports; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""


def test_drawing_needs_no_torch() -> None:
    code = "import sys; import prunemark.reports.page, prunemark.reports.tables; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
