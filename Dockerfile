# syntax=docker/dockerfile:1
# Three images of one lock: airflow (the control plane), steps (pods of steps), serving (the model server).
#   make images IMAGE_REGISTRY=registry.example.com/tradewind
# They hold dependencies and Tradewind, never user code: that travels with each request.
# Any Debian with Python 3.11 to 3.13 will do as base; pin it by digest for builds that can be repeated.
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS base
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PATH=/opt/tradewind/app/bin:/opt/tradewind/.venv/bin:$PATH
RUN groupadd --gid 50000 tradewind \
    && SOURCE_DATE_EPOCH=0 useradd --uid 50000 --gid 50000 --home-dir /scratch --no-create-home --shell /usr/sbin/nologin tradewind \
    && install -d -o 50000 -g 50000 /scratch
WORKDIR /opt/tradewind
COPY bin/image image

# What images are made with, mounted where it is needed.
FROM base AS tools
ARG UV=0.13.9
COPY pyproject.toml uv.lock image/
RUN --mount=type=secret,id=env --mount=type=cache,id=uv,target=/var/cache/uv \
    image/tools "${UV}"

# Tradewind itself, the same in all images, in a layer of its own beside the libraries' large one.
FROM tools AS app
COPY pyproject.toml README.md LICENSE /opt/source/
COPY include /opt/source/include
COPY plugins /opt/source/plugins
RUN --mount=type=secret,id=env --mount=type=cache,id=uv,target=/var/cache/uv \
    image/app

# Airflow's API server, scheduler, DAG processor, triggerer and workers: the command says which.
FROM base AS airflow
RUN image/debian git tini \
    && install -d -o 50000 -g 0 -m 0775 /opt/airflow
COPY pyproject.toml uv.lock image/
# The light steps run in Airflow's own workers and need the steps' libraries, but no Spark.
ARG EXTRAS="--extra airflow --extra steps --no-install-package pyspark"
# hadolint ignore=SC2086
RUN --mount=type=bind,from=tools,source=/opt/tools,target=/opt/tools \
    --mount=type=secret,id=env --mount=type=cache,id=uv,target=/var/cache/uv \
    image/libraries ${EXTRAS}
COPY --from=app /opt/tradewind/app app
COPY profiles profiles
ENV AIRFLOW_HOME=/opt/airflow \
    HOME=/scratch \
    TRADEWIND_PROJECT=/opt/tradewind \
    TRADEWIND_PROFILE=cluster
USER 50000:50000
EXPOSE 8080
# The official chart's containers bring their own command line, some by way of bash.
ENTRYPOINT ["tini", "--"]
CMD ["airflow", "api-server"]
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="tradewind-airflow" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${COMMIT}"

# One step, then the end: the pod gives the arguments. Java is for Spark.
FROM base AS steps
ARG JAVA=openjdk-17-jre-headless
RUN image/debian "${JAVA}" tini
COPY pyproject.toml uv.lock include/tradewind_runtime/ivy.py include/tradewind_runtime/engines/spark/s3.xml \
     include/tradewind_runtime/engines/spark/s3.sha256 image/
# An image that trains networks: "--extra steps --extra torch", or keras, ray; or one with Beam.
ARG STEPS="--extra steps"
# hadolint ignore=SC2086
RUN --mount=type=bind,from=tools,source=/opt/tools,target=/opt/tools \
    --mount=type=secret,id=env --mount=type=cache,id=uv,target=/var/cache/uv \
    image/libraries ${STEPS}
COPY --from=app /opt/tradewind/app app
ENV HOME=/scratch \
    PYSPARK_PYTHON=/opt/tradewind/.venv/bin/python
USER 50000:50000
ENTRYPOINT ["tini", "--", "python", "-m", "tradewind_runtime"]
CMD ["--help"]
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="tradewind-steps" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${COMMIT}"

# The model server: V2 protocol, verified artefacts only.
FROM base AS serving
RUN image/debian tini
COPY pyproject.toml uv.lock image/
RUN --mount=type=bind,from=tools,source=/opt/tools,target=/opt/tools \
    --mount=type=secret,id=env --mount=type=cache,id=uv,target=/var/cache/uv \
    image/libraries --extra serving
COPY --from=app /opt/tradewind/app app
ENV HOME=/scratch
USER 50000:50000
EXPOSE 8085
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8085/v2/health/live', timeout=2)"]
ENTRYPOINT ["tini", "--", "python", "-m", "tradewind_runtime.serving"]
CMD ["--help"]
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="tradewind-serving" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${COMMIT}"
