from shop.features import Feature

from .commands import keys

feature = Feature(
    commands=[keys],
)
