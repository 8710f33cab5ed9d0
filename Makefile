# make demo: a trained adapter from nothing; make test: all tests that need neither GPU nor network; make check: style and types
.PHONY: demo test check

PYTHON ?= python3
INSTALLED := .venv/.installed

demo: $(INSTALLED)
	.venv/bin/accelerate launch --num_processes 1 --num_machines 1 --mixed_precision no --dynamo_backend no train.py recipe=tiny

test: $(INSTALLED)
	.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not gpu and not network"

check: $(INSTALLED)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

# evalplus (suite=humaneval) asks for other versions of what it does not need here
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	.venv/bin/pip install --quiet --no-deps evalplus==0.3.1
	touch $@
