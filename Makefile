# Everything runs in .venv, which is created when it is needed.
# `make help` lists the targets.

# Any Python that setup.py allows: make demo PYTHON=/path/to/python3.12
ifndef PYTHON
PYTHON := $(shell for p in python3.11 python3 python; do \
	$$p -c '' 2>/dev/null && echo $$p && break; done)
endif
# Processes that run tests at the same time.
WORKERS := 2
BIN := .venv/bin
VENV := .venv/.installed
# The packages in one tree, as setup.py installs them, for the type checker.
TYPES := build/types
# The export that `make verify` checks, and the versions of TensorFlow that it
# is asked in besides the one of .venv.
EXPORT := demo/export
OTHERS := build/tensorflow-2.19 build/tensorflow-2.20
COMMA := ,
SPACE := $(subst ,, )
MODELS := ads_only,cpm_finetune,e_cdctr,no_regret

# Exits with a message unless Python is in the range that setup.py names.
define CHECK_PYTHON
import re, sys
text = open("setup.py", encoding="utf-8").read()
wanted = re.search(r'python_requires="(.*?)"', text)[1]
low, high = (int(n) for n in re.findall(r"3\.(\d+)", wanted))
if not (3, low) <= sys.version_info[:2] < (3, high):
    here = ".".join(map(str, sys.version_info[:3]))
    sys.exit(
        f"This project needs Python {wanted}; {sys.executable} is {here}. "
        "Choose another one: make PYTHON=python3.11 ..."
    )
endef
export CHECK_PYTHON

.PHONY: help demo test long lint format verify reference beam venv lock clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*##/:/' | column -t -s: 2>/dev/null \
	  || grep -E '^[a-z]+:.*##' Makefile

demo: $(VENV) demo/data ## train every level on synthetic logs, compare, export
	$(BIN)/python train_main.py --stage=all --preset=synthetic \
	  --models=$(MODELS) --data_dir=demo/data --workdir=demo/run \
	  --report_dir=demo/report --export_dir=demo/export --deterministic

# Made beside its place: an interrupted run leaves no half data directory.
demo/data: | $(VENV)
	rm -rf demo/.data
	$(BIN)/python -m ecdctr_tf.input.datasets.prepare --dataset=synthetic \
	  --out=demo/.data
	mv demo/.data demo/data

test: lint ## check style and types, then run the tests
	$(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=worksteal

long: $(VENV) ## run the tests that make test leaves out: they take long
	$(BIN)/python -m pytest -m long

lint: $(VENV) ## check the style and the types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf $(TYPES) && mkdir -p $(TYPES)/ecdctr_tf
	ln -s "$(CURDIR)"/ecdctr_tf/* "$(CURDIR)"/input "$(CURDIR)"/export \
	  $(TYPES)/ecdctr_tf
	ln -s "$(CURDIR)"/train_main.py $(TYPES)
	cd $(TYPES) && ../../$(BIN)/python -m mypy --config-file ../../pyproject.toml

verify: $(VENV) $(OTHERS) ## check EXPORT, also in the TensorFlow of servers
	$(BIN)/python train_main.py --stage=verify --export_dir=$(EXPORT) \
	  --pythons=$(subst $(SPACE),$(COMMA),$(OTHERS:%=%/bin/python))

# Not of the lock: what TensorFlow Serving ships is a release or two behind.
build/tensorflow-%:
	rm -rf $@ && "$(PYTHON)" -m venv $@
	$@/bin/python -m pip install -q --disable-pip-version-check \
	  "tensorflow-cpu==$*.*" || { rm -rf $@; exit 1; }

reference: $(VENV) ## rebuild docs/conversion_spec.md from the code
	$(BIN)/python -m ecdctr_tf.input.conversion.reference \
	  > docs/.conversion_spec.md
	mv docs/.conversion_spec.md docs/conversion_spec.md

beam: build/beam ## test conversion by Apache Beam
	$</bin/python -m pytest --noconftest tests/test_beam.py

# Without TensorFlow, which conversion does not need, and not of the lock: Beam
# wants an older protobuf. TensorFlow's settings of tests are left out, too.
build/beam: setup.py
	rm -rf $@ && "$(PYTHON)" -m venv $@
	$@/bin/python -m pip install -q --disable-pip-version-check \
	  "apache-beam>=2.77,<3" absl-py google-crc32c pyarrow pytest rich \
	  "setuptools>=77" tqdm wheel || { rm -rf $@; exit 1; }
	$@/bin/python -m pip install -q --disable-pip-version-check \
	  --no-deps --no-build-isolation -e .

format: $(VENV) ## fix the style where it can be fixed automatically
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

venv: $(VENV) ## create .venv from requirements.lock

$(VENV): requirements.lock setup.py
	@[ -n "$(PYTHON)" ] || { echo "No Python was found. Choose one:" \
	  "make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@"$(PYTHON)" -c "$$CHECK_PYTHON"
	[ -x $(BIN)/python ] || "$(PYTHON)" -m venv .venv \
	  || "$(PYTHON)" -m venv --clear --without-pip .venv
	@$(BIN)/python -m pip --version >/dev/null 2>&1 \
	  || "$(PYTHON)" -m pip --python $(BIN)/python install -q pip
	$(BIN)/python -m pip install -q --disable-pip-version-check \
	  --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check \
	  --no-deps --no-build-isolation -e .
	@touch $(VENV)

lock: $(VENV) ## rebuild requirements.lock from setup.py
	$(BIN)/python -m pip install -q --disable-pip-version-check uv
	$(BIN)/uv pip compile setup.py --extra test --extra server \
	  --generate-hashes \
	  --no-emit-index-url --python-version 3.11 -o requirements.lock \
	  --no-header --no-annotate

clean: ## remove .venv, the files of the demo, and caches
	rm -rf .venv demo build dist *.egg-info .mypy_cache .pytest_cache \
	  .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
