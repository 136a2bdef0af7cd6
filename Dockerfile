# The connector's image: one static binary on nothing. `make image` builds it.
#
# The binary is built before, and not in here: Go builds for every platform on any
# machine, byte for byte the same, and no base image has to be trusted or fetched.
# Zone data and certificate authorities are inside the binary; an own CA file is
# named in the configuration, or by SSL_CERT_FILE.
FROM scratch

ARG TARGETARCH
ARG VERSION=development
ARG COMMIT=
ARG DATE=

LABEL org.opencontainers.image.title="callpop connector" \
      org.opencontainers.image.description="Screen-pops of LQ-Connect call centres, as events on NATS and Kafka" \
      org.opencontainers.image.source="https://github.com/callpop/connector" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.created="${DATE}"

# /connector, which is root's, and /tmp for connector demo.
COPY dist/image/${TARGETARCH}/ /
# A volume that is new gets its owner from here.
COPY --chown=65532:65532 dist/image/state/ /var/lib/connector/

# By number, so that Kubernetes can tell that it is not root.
USER 65532:65532
WORKDIR /var/lib/connector
ENTRYPOINT ["/connector"]
CMD ["--help"]
