from shop.features import Feature

from .routes import blueprint

feature = Feature(
    needs=["categories"],
    blueprint=blueprint,
    tables={"products": "products"},
)
