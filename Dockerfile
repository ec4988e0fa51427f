# The program, Node and what Node needs, and nothing else. NODE_IMAGE is any Debian with Node and npm; the Node that goes
# into the image comes from the lock file, with its checksum.
ARG NODE_IMAGE=node:24.21.0-bookworm-slim
FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json LICENSE ./
RUN npm ci --no-fund --no-audit
COPY build build
COPY src src
RUN npm run -s build
RUN sh build/root.sh /root-of-image

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="retention-operator" \
      org.opencontainers.image.description="Data retention for PostgreSQL on Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /root-of-image /
# What V8 made of the program when the image was built, for this user; it is read, and never written. Under another user, as
# OpenShift assigns one, the program compiles at each start.
ENV NODE_COMPILE_CACHE=/app/cache \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER 65532:65532
# Batches make much garbage: with larger semi-spaces V8 takes 150 MB for a backlog where these do with less than 100.
ENTRYPOINT ["/usr/local/bin/node", "--max-semi-space-size=2", "/app/main.js"]
