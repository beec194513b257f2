from shop.features import Feature

from .routes import blueprint

feature = Feature(
    needs=["orders", "products", "sessions"],
    blueprint=blueprint,
    tables={"cart_items": "items in carts"},
)
