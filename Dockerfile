# The API. Before a new version serves, run `flask db upgrade` once, in a container of its image.

FROM python:3.13.15-slim-trixie AS base

FROM base AS builder
WORKDIR /build
COPY requirements.txt .
# Wheels of known content only, so nothing is compiled. What serves needs no pip.
RUN python -m venv --without-pip /opt/venv \
    && pip --python /opt/venv/bin/python install --no-cache-dir --disable-pip-version-check \
        --require-hashes --only-binary=:all: -r requirements.txt

FROM base
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /app --shell /usr/sbin/nologin shop
WORKDIR /app
COPY --from=builder /opt/venv /opt/venv
COPY .flaskenv gunicorn.conf.py wsgi.py ./
COPY migrations migrations
COPY shop shop
# `flask seed`; the rest of dev/ is not for an image.
COPY dev/__init__.py dev/__init__.py
COPY dev/demo dev/demo
# Nobody may write here later, and each worker would compile it anew.
RUN python -m compileall -q shop dev

# All files belong to root; only /tmp is written, which can be a tmpfs.
USER 10001:10001
ARG REVISION
ENV REVISION=$REVISION
EXPOSE 8000
STOPSIGNAL SIGTERM

# Fails on 503: without the database nothing can be served, without Redis everything can.
# A proxy for outgoing requests is not for this one.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os; from urllib.request import ProxyHandler, build_opener; build_opener(ProxyHandler({})).open('http://127.0.0.1:%s/readyz' % (os.environ.get('PORT') or 8000), timeout=4)"]

CMD ["gunicorn", "wsgi:app"]
