from shop.features import Feature

from .routes import SCOPE, blueprint

feature = Feature(
    needs=["products"],
    blueprint=blueprint,
    scopes=[SCOPE],
    tables={"reviews": "reviews"},
)
