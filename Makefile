# Every target sets itself up; a second run does only what has changed. `make` alone lists the targets.
PYTHON ?= python3
PORT ?= 8000
export TH_MODEL TH_CACHE JOBS PAGES
unexport PYTHONPATH PYTHONHOME MPLBACKEND VIRTUAL_ENV __PYVENV_LAUNCHER__  # another Python or plot backend would leak in

# Set up .venv, then run a command in it; one at a time in this folder.
RUN = @$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo "error: '$(PYTHON)' is not there or older than Python 3.11; try make $@ PYTHON=/path/to/python3.12"; exit 1; }; \
	$(PYTHON) tools/bootstrap.py

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help book check deeper test lint fold audit reach bench report student rendered slides pdf release serve fork clean distclean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## */  make \1\t/' | expand -t 18
	@echo "  Variables: PYTHON=python3.12, TH_MODEL=smollm2-135m, TH_CACHE=folder for weights, JOBS=2, PORT=8000, PAGES=04_dilution"

book:  ## install, fetch the model, execute the notebooks, build the book
	$(RUN) python tools/build.py book

check: lint  ## while you work: ruff, the quick unit tests, every chapter on a tiny model
	$(RUN) python tools/build.py check

test:  ## before you push: every unit test, notebooks on five models, the book, its pages
	$(RUN) python tools/build.py test

deeper:  ## compute the deeper pages anew, all (forty minutes) or PAGES="04_dilution 03_readers", and keep them in book/stored
	$(RUN) python tools/build.py deeper

lint:  ## ruff on the code
	$(RUN) ruff check -q --output-format=concise .

fold:  ## fold what a reader does not need to see, in the book, JupyterLab and Colab (tools/fold.py)
	$(RUN) python tools/fold.py

audit:  ## look the pinned versions up among known vulnerabilities (needs the network)
	@$(PYTHON) -m venv _build/audit && _build/audit/bin/python -m pip install -q pip-audit==2.10.1
	@bad=0; for list in hashes/*.txt; do echo "==> $$list"; \
	_build/audit/bin/pip-audit --strict --disable-pip --require-hashes -r $$list || bad=1; done; exit $$bad

reach:  ## try every decoder family that TransformerLens lists, and write book/reach.md (ten minutes)
	$(RUN) python tools/reach.py

bench:  ## run the benchmarks
	$(RUN) sh -c 'python -m th_utils.models fetch && python benchmarks/measure.py && python benchmarks/report.py'

report:  ## measure one model as the book does: a page and a JSON file in report-<model>/
	$(RUN) python -m th_utils report

student:  ## the chapters with stubs in place of solutions, _build/student, and a course for nbgrader, _build/course
	$(RUN) python tools/student.py

rendered:  ## the notebooks with outputs, and copies for students, in _build/rendered: a branch for GitHub
	$(RUN) python tools/branch.py

slides:  ## slides of every chapter of the built book, in _build/slides
	$(RUN) python tools/slides.py

pdf:  ## print the built book to _build/talking-heads.pdf (needs Chromium or Chrome)
	$(RUN) python tools/printing.py

release: pdf  ## the wheel, the pages, the PDF and checksums of the built book, in _build/release
	$(RUN) python tools/release.py

serve:  ## show the built book at http://127.0.0.1:8000
	@test -f _build/html/index.html || { echo "error: no book yet; run make book first"; exit 1; }
	@$(PYTHON) -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

fork:  ## give the book another address: make fork ADDRESS=https://github.com/OWNER/NAME
	@old=$$(sed -n 's|^  url: https://github.com/||p' _config.yml); new=$$(echo "$(ADDRESS)" | sed -n 's|^https://github.com/||p'); \
	test "$$new" || { echo "error: make fork ADDRESS=https://github.com/OWNER/NAME"; exit 1; }; \
	site() { echo "$${1%%/*}.github.io/$${1#*/}"; }; \
	git grep -lzI -e "$$old" -e "$$(site $$old)" | OLD="$$old" NEW="$$new" OLD_SITE=$$(site $$old) NEW_SITE=$$(site $$new) \
	xargs -0 perl -pi -e 's/\Q$$ENV{OLD}\E(?![\w-])/$$ENV{NEW}/g; s/\Q$$ENV{OLD_SITE}\E(?![\w-])/$$ENV{NEW_SITE}/g'

clean:  ## remove everything built, keep .venv
	@rm -rf _build .nbmake .pytest_cache .ruff_cache .hypothesis

distclean: clean  ## remove .venv as well
	@rm -rf .venv *.egg-info
