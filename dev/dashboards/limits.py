"""Limits: who is refused by which policy."""

from .panels import Dashboard, bars, graph, stat, text

LIMITS = Dashboard(
    "shop-limits",
    "shop: limits",
    "How much each policy allows and refuses. All hosts together.",
    {
        "Now": [
            stat(
                "Refused",
                "Share of the requests that a policy decided, and refused.",
                "percentunit",
                (
                    (
                        'sum(rate(shop_rate_limit_requests_total{result="refused"}[$__rate_interval]))'
                        " / sum(rate(shop_rate_limit_requests_total[$__rate_interval])) or vector(0)"
                    ),
                    "refused",
                ),
                (None, "green"),
                (0.05, "orange"),
                (0.25, "red"),
                width=6,
            ),
            stat(
                "429",
                "Answers with 429 a second.",
                "reqps",
                ('sum(shop:http_requests:rate2m{status="429"}) or vector(0)', "429"),
                width=6,
            ),
            stat(
                "Would be refused",
                "Requests a second that shadow mode let pass (RATE_LIMIT_MODE=shadow).",
                "reqps",
                (
                    (
                        "sum(rate(shop_rate_limit_requests_total"
                        '{result="would_refuse"}[$__rate_interval])) or vector(0)'
                    ),
                    "would be refused",
                ),
                width=6,
            ),
            stat(
                "Workers that count alone",
                "Without Redis each worker allows its share of a quota. More than 0: LimitsCountedAlone fires.",
                "short",
                ("sum(shop_rate_limit_fallback)", "workers"),
                (None, "green"),
                (1, "orange"),
                width=6,
            ),
        ],
        "Policies": [
            graph(
                "Allowed",
                "Requests that each policy allowed and was charged for.",
                "reqps",
                (
                    'sum by (policy) (rate(shop_rate_limit_requests_total{result="allowed"}[$__rate_interval]))',
                    "{{policy}}",
                ),
            ),
            graph(
                "Refused",
                "Requests that each policy refused.",
                "reqps",
                (
                    'sum by (policy) (rate(shop_rate_limit_requests_total{result="refused"}[$__rate_interval]))',
                    "{{policy}}",
                ),
            ),
            graph(
                "Would be refused",
                "What each policy would refuse, in shadow mode: look here before RATE_LIMIT_MODE=enforce.",
                "reqps",
                (
                    (
                        "sum by (policy) (rate(shop_rate_limit_requests_total"
                        '{result="would_refuse"}[$__rate_interval]))'
                    ),
                    "{{policy}}",
                ),
            ),
            bars(
                "Refused in the last hour",
                "Requests that each policy refused.",
                "short",
                (
                    'sum by (policy) (increase(shop_rate_limit_requests_total{result="refused"}[1h])) > 0',
                    "{{policy}}",
                ),
            ),
            graph(
                "429 by route",
                "Where clients are refused; the edge refuses before a route is known to Flask.",
                "reqps",
                (
                    'topk(10, sum by (method, route) (shop:http_requests:rate2m{status="429"}))',
                    "{{method}} {{route}}",
                ),
            ),
            graph(
                "Counted alone",
                "Workers that count for themselves, by host.",
                "short",
                ("sum by (instance) (shop_rate_limit_fallback)", "{{instance}}"),
            ),
        ],
        "Clients": [
            text(
                "Who is near a limit, or refused",
                "Clients are in no metric: an address is a customer's.",
                "The clients that use most of a quota are on the service's own page, **`/ops`**, which needs a key "
                "with the scope `ops:read`, and are listed by `flask limits top --count 10`. "
                "`flask limits reset rate_limit:ADDRESS` gives one its quota back.",
            )
        ],
    },
)
