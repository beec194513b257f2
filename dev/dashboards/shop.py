"""Shop: what is ordered, paid, refused, and done by the clock."""

from .panels import Dashboard, bars, graph, stat

SHOP = Dashboard(
    "shop-shop",
    "shop: shop",
    "What is ordered, paid and refused, what sells, and what flask worker does. All hosts together.",
    {
        "Now": [
            stat(
                "Orders in an hour",
                "Orders placed in the last hour.",
                "short",
                ('sum(increase(shop_orders_total{event="placed"}[1h])) or vector(0)', "placed"),
                width=6,
            ),
            stat(
                "Paid in an hour",
                "Orders paid in the last hour.",
                "short",
                ('sum(increase(shop_orders_total{event="paid"}[1h])) or vector(0)', "paid"),
                width=6,
            ),
            stat(
                "Overdue",
                "Orders that were not paid in time, and still keep their stock. More than 0: OrdersOverdue fires.",
                "short",
                ("max(shop_orders_overdue)", "orders"),
                (None, "green"),
                (1, "orange"),
                width=6,
            ),
            stat(
                "Refused for want of stock",
                "Lines of orders in the last hour for which there was not enough.",
                "short",
                (
                    'sum(increase(shop_order_refused_lines_total{reason="stock"}[1h])) or vector(0)',
                    "lines",
                ),
                width=6,
            ),
        ],
        "Orders": [
            graph(
                "Orders by event",
                "Orders an hour that were placed, paid, shipped, delivered, cancelled, or expired unpaid.",
                "short",
                ("sum by (event) (increase(shop_orders_total[1h]))", "{{event}}"),
            ),
            graph(
                "Revenue",
                "Amounts paid in an hour, by currency.",
                "short",
                ("sum by (currency) (increase(shop_revenue_total[1h]))", "{{currency}}"),
            ),
            bars(
                "What sells",
                "The ten best products of the leaderboard, by its score.",
                "short",
                ("topk(10, max by (product_id) (shop_trending_score))", "product {{product_id}}"),
            ),
        ],
        "Refused": [
            graph(
                "Lines that orders were refused for",
                "By reason: no stock, an inactive or unknown product, or another currency.",
                "short",
                (
                    "sum by (reason) (increase(shop_order_refused_lines_total[1h]))",
                    "{{reason}}",
                ),
            ),
            graph(
                "Checkouts over a cap",
                "Checkouts an hour that were refused, because a session or an address has too many unpaid orders.",
                "short",
                ("sum by (cap) (increase(shop_checkouts_over_cap_total[1h]))", "{{cap}}"),
            ),
            graph(
                "Steps that did not fit",
                "Steps an hour that an order's status did not allow.",
                "short",
                ("sum by (action) (increase(shop_order_conflicts_total[1h]))", "{{action}}"),
            ),
        ],
        "flask worker": [
            graph(
                "Overdue orders",
                "Orders that were not paid in time and are still to be cancelled.",
                "short",
                ("max(shop_orders_overdue)", "orders"),
            ),
            graph(
                "Runs",
                "Runs of each task an hour, and how they ended.",
                "short",
                (
                    "max by (task, result) (increase(shop_task_runs_total[1h]))",
                    "{{task}} {{result}}",
                ),
            ),
            graph(
                "Since the last success",
                "expire_orders is due each 5 s, the others each hour.",
                "s",
                (
                    "time() - max by (task) (shop_task_last_success_timestamp_seconds)",
                    "{{task}}",
                ),
            ),
            graph(
                "Duration",
                "How long the last run of each task took.",
                "s",
                ("max by (task) (shop_task_last_seconds)", "{{task}}"),
            ),
        ],
    },
)
