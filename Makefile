# Each target says what it does: `make help`.
.DEFAULT_GOAL := help
.PHONY: help setup demo up down test test-airflow test-steps test-long test-spark test-slow test-cluster test-frameworks lint bench soak docs images

# Without bytecode each process that is started here takes a quarter of a second more.
unexport PYTHONDONTWRITEBYTECODE
# One of two workers waits for a server most of the time; modules stay whole and in order.
WORKERS = -n 2 --dist loadscope --no-loadscope-reorder
# Tiers of their own: what starts Spark; what takes minutes because much is killed, started and measured in it; and runs
# through a real Airflow but for those that show a commit from YAML to a model.
SPARK = tests/spark_jobs $(addprefix tests/tradewind_runtime/,engines/test_spark_standalone.py engines/test_spark_connect.py \
  engines/test_spark_checks.py engines/test_spark_reading.py engines/test_spark_objects.py engines/test_spark_application.py \
  engines/test_spark_progress.py engines/test_spark_s3.py launchers/test_spark_companions.py)
AIRFLOW = $(filter-out tests/e2e/test_bundle.py,$(wildcard tests/e2e/test_*.py))
LONG = $(AIRFLOW) tests/test_soak.py tests/test_bench_data.py tests/servers tests/tradewind/operators/test_select.py \
  $(addprefix tests/tradewind_runtime/,steps/test_tune.py distributed/test_xgboost.py sources/test_kafka_outages.py \
  sources/test_kafka_leader.py test_pruning.py test_rivals.py)
# Spark's tests start some hundred Javas that live for seconds: their second compiler is a third of what these take. No
# collector is named here: the Kafka broker names its own, and Java ends where two are named.
SHORT_LIVED = JAVA_TOOL_OPTIONS="-XX:TieredStopAtLevel=1"
# Steps of every kind, and what starts, keeps and serves what they make: tested where there is no Airflow, as in a pod.
# test_imports.py looks at what all of the data plane imports.
STEPS = $(addprefix tests/tradewind_runtime/,test_imports.py steps launchers registries tracking serving \
  sources/test_objects.py)

help: ## What can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: ## Both environments and Kafka's jars, from a Python 3.11 to 3.13 alone; quick when repeated. EXTRAS="torch keras ray beam" too
	@bin/setup $(EXTRAS)

demo: setup ## A pipeline through a real stack: ingested, trained, served, watched, retrained
	@.venv/bin/python -m tradewind.demo

up: setup ## Start the local stack: Airflow, Kafka, S3, MLflow, the model server
	@.venv/bin/tradewind dev up

down: ## Stop the local stack; no process is left
	@if [ -x .venv/bin/tradewind ]; then .venv/bin/tradewind dev down; else echo "nothing was set up"; fi

test: test-airflow test-steps ## The tests, with real servers, on two workers

test-airflow: setup ## Of them, those beside Airflow: pipelines, DAGs, tables, sources, commands
	.venv/bin/python -m pytest $(WORKERS) $(addprefix --ignore=,$(STEPS) $(SPARK) $(LONG)) $(ARGS)

test-steps: setup ## Of them, those of steps, registries and the model server, where Airflow is not installed
	@UV_PROJECT_ENVIRONMENT=.cache/venv-steps .cache/tools/bin/uv sync --quiet --frozen --extra steps --extra dev --group test
	@! .cache/venv-steps/bin/python -c "import airflow" 2>/dev/null
	.cache/venv-steps/bin/python -m pytest $(WORKERS) $(STEPS) $(addprefix --ignore=,$(SPARK) $(LONG)) $(ARGS)

test-long: setup ## Tests that take minutes: through Airflow, everything is killed, a short soak, sweeps, several workers
	.venv/bin/python -m pytest $(WORKERS) $(LONG) $(ARGS)

test-spark: setup ## Tests of Spark: local, on standalone clusters, by Connect, as engine of ingestion and checks
	$(SHORT_LIVED) .venv/bin/python -m pytest $(WORKERS) $(SPARK) $(ARGS)

# Those through Airflow stay with one worker; the other is not idle meanwhile.
test-slow: setup ## Both, in less time: the longest first
	$(SHORT_LIVED) .venv/bin/python -m pytest $(WORKERS) $(AIRFLOW) $(SPARK) $(LONG) $(ARGS)

lint: setup ## Style, types, layers, the Dockerfile and the examples
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	@if [ -f Dockerfile ]; then echo .venv/bin/hadolint Dockerfile; .venv/bin/hadolint Dockerfile; fi
	.venv/bin/tradewind validate dags/pipelines

bench: setup ## Measure, beside peers; results go to bench/results/
	@.cache/tools/bin/uv pip install --quiet --target .cache/bench --no-deps dag-factory==1.1.0
	PYTHONPATH=.cache/bench .venv/bin/python -m bench $(ARGS)

soak: setup ## Kafka and objects ingested while step, broker and store are killed; every message must be there once
	.venv/bin/python -m bench.soak $(ARGS)

docs: setup ## Build the documentation into site/
	.venv/bin/mkdocs build --strict

images: ## Build and push the container images: make images IMAGE_REGISTRY=registry.example.com/tradewind
	@bin/images $(IMAGE_REGISTRY) $(TARGETS)

test-cluster: setup ## Tests on a real Kubernetes, built from source and started here; root on Debian, with Go
	.venv/bin/python -m pytest -n 0 -m cluster tests/cluster $(ARGS)

test-frameworks: setup ## PyTorch, Keras, Ray and Beam, each in an environment of its own (13 GB)
	@for name in torch keras ray beam; do \
	  case $$name in beam) tests=engines/beam extras="--extra beam";; *) tests=frameworks/networks extras="--extra steps --extra $$name";; esac; \
	  UV_PROJECT_ENVIRONMENT=.cache/venv-$$name .cache/tools/bin/uv sync --quiet --frozen $$extras --extra dev --group test && \
	  TRADEWIND_TEST_FRAMEWORK=$$name .cache/venv-$$name/bin/python -m pytest tests/tradewind_runtime/$$tests $(ARGS) \
	  || exit 1; done
