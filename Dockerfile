# The base is pinned here, as a stage, because that is where Dependabot looks for it; BASE puts
# another one in its place: --build-arg BASE=mirror.example.com/python:3.13-slim@sha256:...
# The tag is for people, the digest decides: Python 3.13.15 on Debian 13.
ARG BASE=pinned
FROM docker.io/library/python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS pinned

# The base comes without its standard library compiled: each start would compile it anew, for the
# running image cannot write. Never checked again, for nothing changes; -f, for what Python compiled
# by itself meanwhile would be checked, and be stale once a builder sets the times of files.
FROM ${BASE} AS compiled
RUN ["python", "-m", "compileall", "-q", "-f", "-j", "0", "--invalidation-mode", "unchecked-hash", "-x", \
     "/(site-packages|ensurepip|idlelib|lib2to3|pydoc_data|tkinter|turtledemo)/", "/usr/local/lib"]

FROM compiled AS build
WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
# Two environments: what builds the package stays out of the image that runs it.
RUN python -m venv --without-pip /opt/rollback-receiver && python -m venv --without-pip /opt/build
# Each is exact and verified by hash; they change more rarely than the code, so they come first.
COPY requirements.lock requirements-build.lock ./
RUN python -m pip --python /opt/build/bin/python install \
    --require-hashes --only-binary :all: --no-compile -r requirements-build.lock \
 && python -m pip --python /opt/rollback-receiver/bin/python install \
    --require-hashes --only-binary :all: --no-compile -r requirements.lock
COPY pyproject.toml LICENSE README.md ./
COPY receiver ./receiver
RUN /opt/build/bin/hatchling build --target wheel --directory /tmp/wheel \
 && python -m pip --python /opt/rollback-receiver/bin/python install \
    --no-deps --no-index --no-compile /tmp/wheel/*.whl \
 && python -m compileall -q -f -j 0 --invalidation-mode unchecked-hash /opt/rollback-receiver/lib

# Nothing in this stage, and nothing in a running container, needs a shell.
FROM compiled
COPY --from=build /opt/rollback-receiver /opt/rollback-receiver
# HOME, because the Kubernetes client asks for one and this user has none.
ENV PATH=/opt/rollback-receiver/bin:$PATH HOME=/ PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# A number, so that runAsNonRoot can tell.
USER 65532:65532
EXPOSE 8080
# For plain HTTP on the default port, as the shipped manifests have it; Kubernetes uses its own probes.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-I", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health', timeout=2)"]
ENTRYPOINT ["rollback-receiver", "serve", "--config", "/etc/rollback-receiver/config.yaml"]
# https://github.com/opencontainers/image-spec/blob/main/annotations.md; last, because they always change.
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="rollback-receiver" \
      org.opencontainers.image.description="Undoes a bad Kubernetes release when Alertmanager says that it is bad." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
