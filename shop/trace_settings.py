"""The settings of traces: variables of OpenTelemetry's, by their standard names.

OpenTelemetry reads variables from the process's environment alone, and goes on with wrong ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .environment import SettingError

if TYPE_CHECKING:
    from .environment import SettingsReader

ENDPOINT, HEADERS = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS"
CHOICES = ("always_on", "always_off", "traceidratio")
SAMPLERS = (*CHOICES, *(f"parentbased_{one}" for one in CHOICES))


def read_trace_settings(read: SettingsReader) -> dict[str, str]:
    """Return the variables for OpenTelemetry; none if there are to be no traces."""
    given = {
        ENDPOINT: read.http_url(ENDPOINT, "http://collector:4318"),
        HEADERS: _headers(read),
        "OTEL_SERVICE_NAME": read.text("OTEL_SERVICE_NAME"),
        "OTEL_RESOURCE_ATTRIBUTES": read.text("OTEL_RESOURCE_ATTRIBUTES"),
        "OTEL_TRACES_SAMPLER": read.choice(
            "OTEL_TRACES_SAMPLER", "parentbased_always_on", SAMPLERS
        ),
        "OTEL_TRACES_SAMPLER_ARG": read.share("OTEL_TRACES_SAMPLER_ARG") or "1",
    }
    is_disabled = read.flag("OTEL_SDK_DISABLED", default=False)
    if is_disabled or not given[ENDPOINT]:
        return {}
    return {name: value for name, value in given.items() if value}


def _headers(read: SettingsReader) -> str | None:
    """Return the headers that the collector gets; one may be a token."""
    headers = read.secret(HEADERS, shortest=1)
    if headers and any(not part.partition("=")[1] for part in headers.split(",")):
        raise SettingError(f"{HEADERS} must be NAME=VALUE pairs with commas between them")
    return headers
