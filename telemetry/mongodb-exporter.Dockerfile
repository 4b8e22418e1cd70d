# The exporter's own image has no shell, and it reads its password from the environment only: with
# busybox it can be read from the secrets volume.
FROM percona/mongodb_exporter:0.53.0 AS program
FROM busybox:1.37
COPY --from=program /mongodb_exporter /mongodb_exporter
