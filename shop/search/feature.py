from shop.features import Feature

from .commands import search
from .routes import blueprint

feature = Feature(
    needs=["categories", "products", "stats"],
    blueprint=blueprint,
    commands=[search],
)
