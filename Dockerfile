# The container image of certrotd; docs/image.md says how to build it and what is in it.
#
# BASE needs Python 3.11 or later and CA certificates. The packages are installed in BUILDER: BASE
# itself, or another image with the same Python. It needs Python's venv, too.
ARG BASE=python:3.13-slim-bookworm@sha256:ed86c82274b3c69b52fb5820f358f0bd7df0b603332063cb5c6e32bd220c3e6e
ARG BUILDER=${BASE}

FROM ${BUILDER} AS build
ARG EXTRAS="aws azure gcp sql notify sodium escrow"
# Where packages come from, if not from PyPI by its own certificate. None of it is in the image.
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX
ARG PIP_CERT
ARG SSL_CERT_FILE
ENV PATH=/build/tools/bin:/usr/local/bin:/usr/bin:/bin UV_LINK_MODE=copy UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never

COPY deploy/image/uv.txt /build/
RUN python3 -m venv /build/tools && \
    pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes --requirement /build/uv.txt

# What uv.lock says, by its hashes; wheels alone, for there is no compiler.
WORKDIR /build/certrotd
COPY pyproject.toml uv.lock ./
RUN set -- && for extra in ${EXTRAS}; do set -- "$@" --extra "${extra}"; done && \
    uv export --quiet --frozen --no-dev --no-emit-project "$@" --output-file /build/locked.txt && \
    uv export --quiet --frozen --only-group build --output-file /build/backend.txt && \
    install="uv pip install --quiet --require-hashes --only-binary :all:" && \
    ${install} --python /build/tools --requirements /build/backend.txt && \
    /usr/bin/env -u VIRTUAL_ENV "$(readlink -f /build/tools/bin/python3)" -m venv --without-pip /opt/certrotd && \
    ${install} --python /opt/certrotd --requirements /build/locked.txt && \
    python3 -m compileall -q -j 0 /opt/certrotd/lib

COPY LICENSE ./
COPY certrotd certrotd
RUN touch README.md && \
    uv build --quiet --wheel --no-build-isolation --python /build/tools --out-dir /build && \
    uv pip install --quiet --python /opt/certrotd --no-deps --no-index --compile-bytecode /build/certrotd-*.whl && \
    install -d -m 0700 /build/state && install -d -m 0755 /build/state/certificates

FROM ${BASE}
RUN echo 'certrotd:x:65532:65532::/var/lib/certrotd:/usr/sbin/nologin' >>/etc/passwd && \
    echo 'certrotd:x:65532:' >>/etc/group
COPY --from=build /opt/certrotd /opt/certrotd
COPY --from=build --chown=65532:65532 /build/state /var/lib/certrotd
# one heap for all threads, as in deploy/systemd/certrotd.service
ENV PATH=/opt/certrotd/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin MALLOC_ARENA_MAX=1
WORKDIR /var/lib/certrotd
USER 65532:65532
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="certrotd" \
      org.opencontainers.image.description="Keeps TLS certificates and data keys fresh" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The first process is certrotd itself: it ends on SIGTERM, and reaps what hooks leave behind.
ENTRYPOINT ["certrotd"]
CMD ["run"]
