# What stands in for the images of others where no registry can be asked: Debian's packages under their names.
ARG RUNTIME_IMAGE
FROM ${RUNTIME_IMAGE} AS packages
RUN apt-get update \
    && apt-get install -y --no-install-recommends redis-server prometheus \
    && rm -rf /var/lib/apt/lists/*

FROM packages AS redis
USER 999:1000
WORKDIR /data

FROM packages AS prometheus
RUN install -d -o nobody -g nogroup /prometheus
USER nobody
ENTRYPOINT ["/usr/bin/prometheus"]

# Takes what it is told over HTTP, and keeps nothing.
FROM ${RUNTIME_IMAGE} AS collector
COPY --from=given /collector /usr/bin/
USER 10001:10001
ENTRYPOINT ["/usr/bin/collector", "0.0.0.0:4318"]
