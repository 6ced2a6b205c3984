# Every target sets itself up; a second run does only what has changed. `make` alone lists the targets.
PYTHON ?= python3
PORT ?= 8000
export TH_MODEL TH_CACHE JOBS PORT ADDRESS BRANCH

RUN = @command -v $(PYTHON) >/dev/null 2>&1 || { echo "error: no '$(PYTHON)' here; try make $@ PYTHON=/path/to/python3.11"; exit 1; }; \
	$(PYTHON) tools/bootstrap.py

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help book test lint audit bench student pdf serve clean distclean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## */  make \1\t/' | expand -t 18
	@echo "  Variables: PYTHON=python3.12, TH_MODEL=smollm2-135m, TH_CACHE=folder for weights, JOBS=2, PORT=8000"

book:  ## install, fetch the model, execute the notebooks, build the book
	$(RUN) book

test:  ## the same, and every test: units, notebooks on four models, rendered pages
	$(RUN) test

lint:  ## ruff on the code
	$(RUN) lint

audit:  ## look the pinned versions up among known vulnerabilities (needs the network)
	@$(PYTHON) -m venv _build/audit && _build/audit/bin/python -m pip install -q pip-audit==2.10.1
	@bad=0; for list in hashes/*.txt; do echo "==> $$list"; \
	_build/audit/bin/pip-audit --strict --disable-pip --require-hashes -r $$list || bad=1; done; exit $$bad

bench:  ## run the benchmarks
	$(RUN) bench

student:  ## the chapters for students, with stubs in place of solutions, in _build/student
	$(RUN) student

pdf:  ## print the built book to _build/talking-heads.pdf (needs Chromium or Chrome)
	$(RUN) pdf

serve:  ## show the built book at http://127.0.0.1:8000
	$(RUN) serve

fork:  ## give the book another address: make fork ADDRESS=https://github.com/OWNER/NAME [BRANCH=main]
	@$(PYTHON) tools/fork.py "$$ADDRESS" "$$BRANCH"

clean:  ## remove everything built, keep .venv
	@rm -rf _build .nbmake .pytest_cache .ruff_cache .hypothesis

distclean: clean  ## remove .venv as well
	@rm -rf .venv *.egg-info
