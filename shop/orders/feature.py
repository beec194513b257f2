from shop.features import Feature

from .commands import leaderboard, orders
from .routes import READ, WRITE, blueprint

feature = Feature(
    needs=["products"],
    blueprint=blueprint,
    scopes=[READ, WRITE],
    commands=[leaderboard, orders],
    tables={"orders": "orders", "order_lines": "order lines"},
)
