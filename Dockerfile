# The same steps as `make run`: environment, torch first, pinned requirements, start.
FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PREFLOOP_HOST=0.0.0.0 \
    PREFLOOP_PORT=8501 \
    PREFLOOP_DATA_DIR=/data

# Extra flags for pip: a mirror, or the index that has torch's CPU build.
ARG PIP_ARGS=""

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 prefloop \
    && mkdir -p /app /data \
    && chown prefloop:prefloop /app /data

USER 10001
WORKDIR /app

COPY --chown=prefloop:prefloop Makefile requirements.txt requirements-models.txt constraints.txt ./
RUN make .venv/.installed PIP_ARGS="${PIP_ARGS}"

COPY --chown=prefloop:prefloop . .

VOLUME /data
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD [".venv/bin/python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8501/health', timeout=4)"]

CMD [".venv/bin/python", "-m", "core.launch"]
