"""The catalogue of the demo shop: twenty categories of things, at typical prices.

Things that are sold most come first (Zipf's law), and so do the materials of each. Many names are
also words of things elsewhere (a garden bench is furniture, a kitchen timer is a clock), and some
are loan words with accents, so that a search has something to decide.
"""

from __future__ import annotations

from typing import NamedTuple

from .words import (
    BAGS,
    BINDINGS,
    CERAMICS,
    COLOURS,
    DIAMETERS,
    LENGTHS,
    METALS,
    PANS,
    PIECES,
    SIZES,
    TEXTILES,
    VOLUMES,
    WIDTHS,
    WOODS,
    Variants,
)


class ProductKind(NamedTuple):
    """A kind of product: its typical price, what it is made of or about, and how it differs."""

    name: str
    price: int
    materials: tuple[str, ...]
    variants: Variants


CATALOGUE: dict[str, tuple[ProductKind, ...]] = {
    "Books": (
        ProductKind("novel", 16, ("crime", "seaside", "railway", "café", "winter"), BINDINGS),
        ProductKind("cookbook", 29, ("vegetable", "baking", "crêpe", "noodle", "sauté"), BINDINGS),
        ProductKind("field guide", 22, ("bird", "tree", "mushroom", "butterfly"), BINDINGS),
        ProductKind("notebook", 14, ("lined", "dotted", "plain", "leather"), COLOURS),
        ProductKind("atlas", 48, ("road", "star", "garden", "bicycle", "railway"), BINDINGS),
        ProductKind("art book", 42, ("naïve", "poster", "ceramics", "photography"), BINDINGS),
        ProductKind("picture book", 15, ("bedtime", "animal", "lantern", "fairy tale"), BINDINGS),
        ProductKind("phrase book", 11, ("Español", "Français", "Italian", "Türkçe"), BINDINGS),
    ),
    "Kitchen": (
        ProductKind("saucepan", 49, PANS, DIAMETERS),
        ProductKind("sauté pan", 64, PANS, DIAMETERS),
        ProductKind("teapot", 38, CERAMICS, VOLUMES),
        ProductKind("entrée plate", 21, CERAMICS, PIECES),
        ProductKind("kettle", 55, PANS, VOLUMES),
        ProductKind("crème brûlée set", 34, CERAMICS, PIECES),
        ProductKind("chef's knife", 72, ("steel", "damask", "ceramic"), LENGTHS),
        ProductKind("cutting board", 31, WOODS, SIZES),
        ProductKind("whisk", 12, ("steel", "copper", "silicone"), LENGTHS),
        ProductKind("soufflé dish", 23, CERAMICS, DIAMETERS),
        ProductKind("café au lait bowl", 18, CERAMICS, COLOURS),
    ),
    "Home textiles": (
        ProductKind("blanket", 59, TEXTILES, COLOURS),
        ProductKind("cushion", 27, TEXTILES, COLOURS),
        ProductKind("bath towel", 24, ("cotton", "piqué", "linen", "terry"), COLOURS),
        ProductKind("appliqué quilt", 120, TEXTILES, COLOURS),
        ProductKind("tablecloth", 42, TEXTILES, COLOURS),
        ProductKind("curtain", 66, TEXTILES, COLOURS),
        ProductKind("bed linen set", 89, ("cotton", "linen", "satin", "flannel"), COLOURS),
        ProductKind("baby blanket", 36, TEXTILES, COLOURS),
    ),
    "Garden": (
        ProductKind("watering can", 26, ("zinc", "copper", "steel", "enamelled"), VOLUMES),
        ProductKind("planter", 34, CERAMICS, DIAMETERS),
        ProductKind("garden hose", 45, ("rubber", "textile", "recycled"), COLOURS),
        ProductKind("jardinière", 68, CERAMICS, DIAMETERS),
        ProductKind("pruning shears", 39, ("steel", "forged", "titanium"), SIZES),
        ProductKind("rake", 29, ("ash", "steel", "bamboo"), WIDTHS),
        ProductKind("bird bath", 75, ("stone", "terracotta", "copper"), DIAMETERS),
    ),
    "Toys": (
        ProductKind("puzzle", 19, ("wooden", "cardboard", "cork"), PIECES),
        ProductKind("building set", 42, ("wooden", "magnetic", "steel"), PIECES),
        ProductKind("board game", 36, ("travel", "wooden", "castle", "café"), SIZES),
        ProductKind("piñata", 22, ("papier-mâché", "paper", "cardboard"), COLOURS),
        ProductKind("kite", 31, ("nylon", "silk", "paper"), COLOURS),
        ProductKind("wooden train", 54, WOODS, PIECES),
        ProductKind("music box", 33, WOODS, COLOURS),
    ),
    "Lighting": (
        ProductKind("desk lamp", 79, METALS, COLOURS),
        ProductKind("pendant lamp", 140, (*METALS, "papier-mâché"), DIAMETERS),
        ProductKind("floor lamp", 165, METALS, COLOURS),
        ProductKind("camping lantern", 38, METALS, COLOURS),
        ProductKind("string lights", 25, ("paper", "glass", "brass"), LENGTHS),
        ProductKind("book light", 17, METALS, COLOURS),
        ProductKind("bicycle light", 29, METALS, SIZES),
    ),
    "Furniture": (
        ProductKind("desk", 390, WOODS, WIDTHS),
        ProductKind("armchair", 540, (*TEXTILES[:4], "leather"), COLOURS),
        ProductKind("café table", 210, (*METALS, "marble"), WIDTHS),
        ProductKind("bookshelf", 260, WOODS, WIDTHS),
        ProductKind("étagère", 320, (*WOODS[:3], *METALS), WIDTHS),
        ProductKind("dining table", 780, WOODS, WIDTHS),
        ProductKind("stool", 95, WOODS, SIZES),
        ProductKind("garden bench", 280, ("teak", "oak", "steel"), WIDTHS),
        ProductKind("chaise longue", 860, (*TEXTILES[:4], "leather"), COLOURS),
    ),
    "Stationery": (
        ProductKind("fountain pen", 58, ("brass", "resin", "steel", "ebonite"), COLOURS),
        ProductKind("sketchbook", 16, ("cotton", "recycled", "grey"), SIZES),
        ProductKind("résumé folder", 13, ("leather", "cardboard", "felt"), COLOURS),
        ProductKind("pencil set", 19, ("cedar", "graphite", "pastel"), PIECES),
        ProductKind("paper tray", 24, (*WOODS[:3], "steel"), COLOURS),
        ProductKind("desk calendar", 14, ("paper", "wooden", "brass"), SIZES),
    ),
    "Sports": (
        ProductKind("yoga mat", 48, ("cork", "rubber", "wool"), COLOURS),
        ProductKind("football", 32, ("leather", "training", "indoor"), SIZES),
        ProductKind("skipping rope", 17, ("leather", "steel", "cotton"), LENGTHS),
        ProductKind("dumbbell pair", 56, ("cast iron", "rubber", "neoprene"), SIZES),
        ProductKind("tennis racket", 110, ("carbon", "aluminium", "ash"), SIZES),
        ProductKind("épée", 130, ("steel", "training"), LENGTHS),
    ),
    "Bicycles": (
        ProductKind("bicycle bell", 18, METALS, COLOURS),
        ProductKind("pannier", 79, BAGS, COLOURS),
        ProductKind("city bicycle", 890, ("steel", "aluminium", "touring"), COLOURS),
        ProductKind("saddle", 95, ("leather", "gel", "cork"), COLOURS),
        ProductKind("bicycle pump", 36, METALS, SIZES),
        ProductKind("bicycle lock", 49, ("steel", "folding", "titanium"), LENGTHS),
    ),
    "Tools": (
        ProductKind("hammer", 27, ("steel", "ash", "copper"), SIZES),
        ProductKind("screwdriver set", 33, ("steel", "magnetic", "titanium"), PIECES),
        ProductKind("cordless drill", 140, ("compact", "impact", "angle"), SIZES),
        ProductKind("hand saw", 29, ("steel", "folding", "garden"), LENGTHS),
        ProductKind("spirit level", 31, ("aluminium", "beech", "brass"), LENGTHS),
        ProductKind("tool box", 64, (*WOODS[:3], "steel"), SIZES),
    ),
    "Luggage": (
        ProductKind("backpack", 98, BAGS, COLOURS),
        ProductKind("suitcase", 170, ("aluminium", "polycarbonate", "leather"), SIZES),
        ProductKind("tote bag", 45, BAGS, COLOURS),
        ProductKind("attaché case", 240, ("leather", "aluminium", "cork"), COLOURS),
        ProductKind("wash bag", 32, BAGS, COLOURS),
        ProductKind("sports bag", 66, BAGS, COLOURS),
    ),
    "Audio": (
        ProductKind("headphones", 150, ("wireless", "wired", "leather"), COLOURS),
        ProductKind("radio", 88, (*WOODS[:3], "travel"), COLOURS),
        ProductKind("bookshelf speaker", 260, WOODS, COLOURS),
        ProductKind("record player", 310, (*WOODS[:3], "aluminium"), COLOURS),
        ProductKind("clock radio", 57, WOODS, COLOURS),
        ProductKind("microphone", 120, ("studio", "condenser", "wireless"), COLOURS),
    ),
    "Photography": (
        ProductKind("photo frame", 24, (*WOODS, "passe-partout"), SIZES),
        ProductKind("camera bag", 85, BAGS, COLOURS),
        ProductKind("tripod", 130, ("carbon", "aluminium", "beech"), SIZES),
        ProductKind("photo album", 31, ("linen", "leather", "paper"), COLOURS),
        ProductKind("lens cloth", 9, ("microfibre", "silk", "cotton"), COLOURS),
    ),
    "Pets": (
        ProductKind("dog bed", 74, TEXTILES, SIZES),
        ProductKind("feeding bowl", 19, CERAMICS, SIZES),
        ProductKind("cat tree", 110, (*WOODS[:3], "sisal"), SIZES),
        ProductKind("dog lead", 28, ("leather", "rope", "nylon"), COLOURS),
        ProductKind("scratching post", 52, ("sisal", "cardboard", "birch"), SIZES),
    ),
    "Baby": (
        ProductKind("night light", 33, ("porcelain", "wooden", "silicone"), COLOURS),
        ProductKind("baby carrier", 115, ("linen", "cotton", "merino"), COLOURS),
        ProductKind("purée maker", 76, ("steel", "glass"), VOLUMES),
        ProductKind("high chair", 190, WOODS, COLOURS),
        ProductKind("teether", 11, ("beech", "rubber", "silicone"), COLOURS),
    ),
    "Music": (
        ProductKind("ukulele", 95, ("mahogany", "koa", "walnut"), SIZES),
        ProductKind("music stand", 48, (*METALS, "beech"), COLOURS),
        ProductKind("cajón", 140, ("birch", "beech", "oak"), SIZES),
        ProductKind("guitar strap", 27, BAGS, COLOURS),
        ProductKind("metronome", 59, WOODS, COLOURS),
    ),
    "Camping": (
        ProductKind("tent", 290, ("canvas", "nylon", "trekking"), SIZES),
        ProductKind("sleeping bag", 145, ("down", "wool", "summer"), SIZES),
        ProductKind("water bottle", 24, ("steel", "glass", "aluminium"), VOLUMES),
        ProductKind("camp stove", 68, ("gas", "steel", "titanium"), SIZES),
        ProductKind("camping chair", 57, ("canvas", "aluminium", "beech"), COLOURS),
    ),
    "Cleaning": (
        ProductKind("laundry basket", 39, ("willow", "bamboo", "felt"), SIZES),
        ProductKind("broom", 22, ("horsehair", "coconut", "beech"), WIDTHS),
        ProductKind("bucket", 17, ("zinc", "enamelled", "recycled"), VOLUMES),
        ProductKind("kitchen brush", 8, ("beech", "bamboo", "copper"), SIZES),
    ),
    "Clocks": (
        ProductKind("wall clock", 62, (*WOODS, "enamelled"), DIAMETERS),
        ProductKind("alarm clock", 34, METALS, COLOURS),
        ProductKind("kitchen timer", 19, (*METALS, "enamelled"), COLOURS),
        ProductKind("hourglass", 26, ("glass", "walnut", "brass"), SIZES),
    ),
}

KINDS = tuple(thing for things in CATALOGUE.values() for thing in things)
