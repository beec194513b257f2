from shop.features import Feature

from .commands import ops
from .routes import READ, WRITE, blueprint

feature = Feature(
    needs=["categories", "keys", "orders", "products", "sessions", "stats"],
    blueprint=blueprint,
    switch="ops_page",
    scopes=[READ, WRITE],
    commands=[ops],
)
