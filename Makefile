# `make quickstart` and `make test` work on a fresh clone: each makes .venv and installs the pinned requirements.
.DELETE_ON_ERROR:
.PHONY: quickstart test soak integrations ray newest oldest check lint docs clean

PYTHON ?= $(shell command -v python3.11 || command -v python3)
# The newest of these that starts; a name that pyenv knows but has not made active does not.
NEWEST_PYTHON ?= $(shell for name in python3.13 python3.12; do $$name -c '' 2>/dev/null && echo $$name && exit; done; echo $(PYTHON))
export OMP_NUM_THREADS = 1
export NO_MKDOCS_2_WARNING = 1

.venv/run: requirements/run.txt pyproject.toml
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check -r requirements/run.txt
	.venv/bin/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	touch $@

# The kernels of the sparse engine are optional: without a C++ compiler, or where it cannot build them, training is dense.
KERNELS := kernels/pyproject.toml kernels/CMakeLists.txt $(wildcard kernels/src/*)
.venv/kernels: .venv/run requirements/kernels.txt $(KERNELS)
	if ! command -v $${CXX:-c++} > /dev/null; then \
		echo "No C++ compiler: the sparse engine is left out, training is dense."; \
	elif ! { .venv/bin/pip install --quiet --disable-pip-version-check -r requirements/kernels.txt && \
		PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/pip install --quiet --disable-pip-version-check \
			--no-build-isolation --no-deps --force-reinstall ./kernels; }; then \
		echo "The kernels could not be built: the sparse engine is left out, training is dense."; \
	fi
	touch $@

.venv/dev: .venv/kernels requirements/dev.txt
	.venv/bin/pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	$(CHROMIUM)
	touch $@

# Tests of the report open it in Debian's chromium: Playwright's own builds are a download that many machines refuse.
define CHROMIUM
if command -v chromium > /dev/null; then :; \
elif command -v apt-get > /dev/null; then \
	as_root=$$(test "$$(id -u)" = 0 || echo sudo); \
	$$as_root apt-get update --quiet=2 && \
	DEBIAN_FRONTEND=noninteractive $$as_root apt-get install --quiet=2 --yes --no-install-recommends chromium; \
else echo "install chromium, which the tests of the report open"; fi
endef

quickstart: .venv/run
	.venv/bin/prunemark run quickstart --out quickstart-out

test: .venv/dev
	.venv/bin/pytest -n auto

soak: .venv/dev integrations ray newest oldest
	.venv/bin/pytest -m soak

# Their own environment, because what transformers, Lightning and the others pull in is no need of prunemark's.
.venv-integrations/done: requirements/run.txt requirements/integrations.txt pyproject.toml
	test -x .venv-integrations/bin/python || $(PYTHON) -m venv .venv-integrations
	.venv-integrations/bin/pip install --quiet --disable-pip-version-check -r requirements/integrations.txt
	.venv-integrations/bin/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	touch $@

.venv-trackers/done: requirements/trackers.txt pyproject.toml
	test -x .venv-trackers/bin/python || $(PYTHON) -m venv .venv-trackers
	.venv-trackers/bin/pip install --quiet --disable-pip-version-check -r requirements/trackers.txt
	.venv-trackers/bin/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	touch $@

TRACKERS := tests/integrations/test_trackers.py
INTEGRATED := pytest -o addopts= -o filterwarnings= --confcutdir=tests/integrations

integrations: .venv-integrations/done .venv-trackers/done
	.venv-integrations/bin/$(INTEGRATED) --ignore=$(TRACKERS) tests/integrations
	.venv-trackers/bin/$(INTEGRATED) $(TRACKERS)

# A cluster of two nodes on this machine; Ray comes in an environment of its own, too.
.venv-ray/done: requirements/run.txt requirements/ray.txt pyproject.toml
	test -x .venv-ray/bin/python || $(PYTHON) -m venv .venv-ray
	.venv-ray/bin/pip install --quiet --disable-pip-version-check -r requirements/ray.txt
	.venv-ray/bin/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	touch $@

ray: .venv-ray/done
	.venv-ray/bin/pytest -o addopts= -o filterwarnings= --confcutdir=tests/ray tests/ray

# The suite on the newest releases that are admitted, asked for again at each call, and on the oldest. torchvision is
# among both, so real JPEG files are decoded there. Each environment takes about 6 GB where torch comes with CUDA.
newest:
	test -x .venv-newest/bin/python || $(NEWEST_PYTHON) -m venv .venv-newest
	.venv-newest/bin/pip install --quiet --disable-pip-version-check --upgrade --upgrade-strategy eager -r requirements/newest.txt -e '.[parquet,hub,vision]'
	.venv-newest/bin/pytest -n auto -m 'not soak'

.venv-oldest/done: requirements/oldest.txt pyproject.toml
	test -x .venv-oldest/bin/python || $(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/pip install --quiet --disable-pip-version-check -r requirements/oldest.txt -e '.[parquet,hub,vision]'
	touch $@

oldest: .venv-oldest/done
	.venv-oldest/bin/pytest -n auto -m 'not soak'

lint: .venv/dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports
	.venv/bin/pyright

docs: .venv/dev
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict --site-dir .venv/site

check: lint test docs

clean:
	rm -rf .venv .venv-integrations .venv-trackers .venv-ray .venv-newest .venv-oldest quickstart-out
