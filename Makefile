# Two commands do everything: `make train` and `make test`. The README shows the same with plain pip.
PYTHON ?= python3
CONFIG ?= conf/adrrl_walker.yaml

train: .venv/installed
	.venv/bin/python train.py --config $(CONFIG)

test: .venv/installed
	OMP_NUM_THREADS=1 .venv/bin/pytest --quiet --numprocesses auto --dist worksteal

docs: .venv/installed
	.venv/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict

check:
	.ci/run

.venv/installed: pyproject.toml constraints.txt
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

.PHONY: train test docs check
