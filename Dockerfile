# One image for every process of the platform; the command names the service:
#   docker run event-rewards python -m event
# Stage 1 has what installing needs, stage 3 only what running needs.
FROM python:3.13.9-slim-trixie AS build

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /venv
# Dependencies first: this layer survives every change of code.
COPY requirements.txt /build/
RUN /venv/bin/pip install --require-hashes -r /build/requirements.txt
COPY shared/observability /build/observability
RUN /venv/bin/pip install --no-deps --no-build-isolation /build/observability

# .dockerignore lets in what runs, and the configuration of the programs around, which `ops.setup`
# hands to them. Where files were checked out with a strict umask only root could read them here.
FROM python:3.13.9-slim-trixie AS files
COPY . /app
RUN mkdir /app/configuration \
 && mv /app/telemetry/* /app/prometheus /app/grafana /app/configuration/ \
 && rm -r /app/telemetry /app/requirements.txt \
 && chmod -R a+rX,go-w /app

FROM python:3.13.9-slim-trixie

# The files belong to root, the process to nobody that could change them.
# A new named volume takes over the owner of the directory that it covers.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin app \
 && install -d -m 700 -o 10005 /state && install -d -m 700 -o 10001 /archive
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOST=0.0.0.0 LOG_FORMAT=json
WORKDIR /app
COPY --from=build /venv /venv
COPY --from=files /app /app
USER 10001
EXPOSE 8000 8001 8002 8080
CMD ["python", "-m", "gateway"]
