# make demo   new glyph classes from the bundled source: train, score, sample, export
# make test   lint and the fast tests (make test-slow for the long ones)
PYTHON ?= python3
BIN := .venv/bin
RUN := runs/demo

.PHONY: demo test test-slow lint clean

.venv/installed: setup.py
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip  # that of Python 3.10 tries versions for minutes
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

demo: .venv/installed
	$(BIN)/cgt-train --flagfile=configs/quickstart/glyphs_transfer.flags --workdir=$(RUN)
	$(BIN)/cgt-evaluate --workdir=$(RUN)
	$(BIN)/cgt-sample --model=$(RUN) --output=$(RUN)/grid.png
	$(BIN)/cgt-export --workdir=$(RUN) --output=$(RUN)/served
	$(BIN)/cgt-report --workdir=$(RUN)
	$(BIN)/python tools/demo_report.py $(RUN)

test: lint
	$(BIN)/pytest --numprocesses=2 --dist=loadfile

test-slow: .venv/installed
	$(BIN)/pytest -m slow

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf .venv runs/demo
