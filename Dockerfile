ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# Two environments: what builds the package stays out of the image that runs it.
RUN python -m venv --without-pip /opt/rollback-receiver && python -m venv /opt/build
# Each is exact and verified by hash; they change more rarely than the code, so they come first.
COPY requirements.lock requirements-build.lock ./
RUN /opt/build/bin/pip install --require-hashes -r requirements-build.lock \
 && /opt/build/bin/pip --python /opt/rollback-receiver/bin/python install \
    --require-hashes --only-binary :all: --no-compile -r requirements.lock
COPY pyproject.toml LICENSE README.md* ./
COPY receiver ./receiver
# Compiled here, because the running image cannot write; never checked again, for nothing changes.
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheel . \
 && /opt/build/bin/pip --python /opt/rollback-receiver/bin/python install \
    --no-deps --no-index --no-compile /tmp/wheel/*.whl \
 && /opt/rollback-receiver/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
    /opt/rollback-receiver/lib

FROM ${BASE}
COPY --from=build /opt/rollback-receiver /opt/rollback-receiver
ENV PATH=/opt/rollback-receiver/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# A number, so that runAsNonRoot can tell.
USER 65532:65532
EXPOSE 8080
# For plain HTTP on the default port, as the shipped manifests have it; Kubernetes uses its own probes.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health', timeout=2)"]
ENTRYPOINT ["rollback-receiver", "serve", "--config", "/etc/rollback-receiver/config.yaml"]
