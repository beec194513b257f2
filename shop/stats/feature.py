from shop.features import Feature

from .routes import SCOPE, blueprint

feature = Feature(
    needs=["orders", "products"],
    blueprint=blueprint,
    scopes=[SCOPE],
)
