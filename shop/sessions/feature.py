from shop.features import Feature

from .routes import blueprint

feature = Feature(
    needs=["keys"],
    blueprint=blueprint,
)
