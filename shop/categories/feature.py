from shop.features import Feature

from .routes import SCOPE, blueprint

feature = Feature(
    blueprint=blueprint,
    scopes=[SCOPE],
    tables={"categories": "categories"},
)
