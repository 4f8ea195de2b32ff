# The worker. The build context is the repository's root: docker build --tag monitor:0.1.0 .

FROM python:3.12.12-slim-bookworm AS build
WORKDIR /source
COPY deploy/constraints.txt deploy/constraints.txt
COPY pyproject.toml README.md LICENSE ./
COPY monitor monitor
# Dependencies come as wheels alone: the image has no compiler, and a missing wheel should say so at once.
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    && python -m venv /opt/monitor \
    && /opt/monitor/bin/python -m pip install --no-cache-dir --only-binary :all: --constraint deploy/constraints.txt /wheels/*.whl

FROM python:3.12.12-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /var/lib/monitor --create-home --shell /usr/sbin/nologin monitor
COPY --from=build /opt/monitor /opt/monitor
ENV PATH=/opt/monitor/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MONITOR_HTTP_HOST=0.0.0.0 \
    MONITOR_HTTP_PORT=8642 \
    MONITOR_DATA_DIR=/var/lib/monitor/data \
    NUMBA_CACHE_DIR=/var/lib/monitor/compiled
WORKDIR /var/lib/monitor
USER monitor
# Counting is compiled on first use; here, so that it need not be where the processor is of the same kind.
RUN ["python", "-c", "from monitor.cli.worker import warm; warm()"]
EXPOSE 8642
# A worker answers before its tables are recovered, and while it is busy; it fails once it is stuck.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['MONITOR_HTTP_PORT'] + '/live', timeout=4)"]
CMD ["monitor", "worker"]
