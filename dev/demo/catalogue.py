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
    Axis,
)


class Thing(NamedTuple):
    """A kind of product: its typical price, what it is made of or about, and how it differs."""

    name: str
    price: int
    materials: tuple[str, ...]
    axis: Axis


CATALOGUE: dict[str, tuple[Thing, ...]] = {
    "Books": (
        Thing("novel", 16, ("crime", "seaside", "railway", "café", "winter"), BINDINGS),
        Thing("cookbook", 29, ("vegetable", "baking", "crêpe", "noodle", "sauté"), BINDINGS),
        Thing("field guide", 22, ("bird", "tree", "mushroom", "butterfly"), BINDINGS),
        Thing("notebook", 14, ("lined", "dotted", "plain", "leather"), COLOURS),
        Thing("atlas", 48, ("road", "star", "garden", "bicycle", "railway"), BINDINGS),
        Thing("art book", 42, ("naïve", "poster", "ceramics", "photography"), BINDINGS),
        Thing("picture book", 15, ("bedtime", "animal", "lantern", "fairy tale"), BINDINGS),
        Thing("phrase book", 11, ("Español", "Français", "Italian", "Türkçe"), BINDINGS),
    ),
    "Kitchen": (
        Thing("saucepan", 49, PANS, DIAMETERS),
        Thing("sauté pan", 64, PANS, DIAMETERS),
        Thing("teapot", 38, CERAMICS, VOLUMES),
        Thing("entrée plate", 21, CERAMICS, PIECES),
        Thing("kettle", 55, PANS, VOLUMES),
        Thing("crème brûlée set", 34, CERAMICS, PIECES),
        Thing("chef's knife", 72, ("steel", "damask", "ceramic"), LENGTHS),
        Thing("cutting board", 31, WOODS, SIZES),
        Thing("whisk", 12, ("steel", "copper", "silicone"), LENGTHS),
        Thing("soufflé dish", 23, CERAMICS, DIAMETERS),
        Thing("café au lait bowl", 18, CERAMICS, COLOURS),
    ),
    "Home textiles": (
        Thing("blanket", 59, TEXTILES, COLOURS),
        Thing("cushion", 27, TEXTILES, COLOURS),
        Thing("bath towel", 24, ("cotton", "piqué", "linen", "terry"), COLOURS),
        Thing("appliqué quilt", 120, TEXTILES, COLOURS),
        Thing("tablecloth", 42, TEXTILES, COLOURS),
        Thing("curtain", 66, TEXTILES, COLOURS),
        Thing("bed linen set", 89, ("cotton", "linen", "satin", "flannel"), COLOURS),
        Thing("baby blanket", 36, TEXTILES, COLOURS),
    ),
    "Garden": (
        Thing("watering can", 26, ("zinc", "copper", "steel", "enamelled"), VOLUMES),
        Thing("planter", 34, CERAMICS, DIAMETERS),
        Thing("garden hose", 45, ("rubber", "textile", "recycled"), COLOURS),
        Thing("jardinière", 68, CERAMICS, DIAMETERS),
        Thing("pruning shears", 39, ("steel", "forged", "titanium"), SIZES),
        Thing("rake", 29, ("ash", "steel", "bamboo"), WIDTHS),
        Thing("bird bath", 75, ("stone", "terracotta", "copper"), DIAMETERS),
    ),
    "Toys": (
        Thing("puzzle", 19, ("wooden", "cardboard", "cork"), PIECES),
        Thing("building set", 42, ("wooden", "magnetic", "steel"), PIECES),
        Thing("board game", 36, ("travel", "wooden", "castle", "café"), SIZES),
        Thing("piñata", 22, ("papier-mâché", "paper", "cardboard"), COLOURS),
        Thing("kite", 31, ("nylon", "silk", "paper"), COLOURS),
        Thing("wooden train", 54, WOODS, PIECES),
        Thing("music box", 33, WOODS, COLOURS),
    ),
    "Lighting": (
        Thing("desk lamp", 79, METALS, COLOURS),
        Thing("pendant lamp", 140, (*METALS, "papier-mâché"), DIAMETERS),
        Thing("floor lamp", 165, METALS, COLOURS),
        Thing("camping lantern", 38, METALS, COLOURS),
        Thing("string lights", 25, ("paper", "glass", "brass"), LENGTHS),
        Thing("book light", 17, METALS, COLOURS),
        Thing("bicycle light", 29, METALS, SIZES),
    ),
    "Furniture": (
        Thing("desk", 390, WOODS, WIDTHS),
        Thing("armchair", 540, (*TEXTILES[:4], "leather"), COLOURS),
        Thing("café table", 210, (*METALS, "marble"), WIDTHS),
        Thing("bookshelf", 260, WOODS, WIDTHS),
        Thing("étagère", 320, (*WOODS[:3], *METALS), WIDTHS),
        Thing("dining table", 780, WOODS, WIDTHS),
        Thing("stool", 95, WOODS, SIZES),
        Thing("garden bench", 280, ("teak", "oak", "steel"), WIDTHS),
        Thing("chaise longue", 860, (*TEXTILES[:4], "leather"), COLOURS),
    ),
    "Stationery": (
        Thing("fountain pen", 58, ("brass", "resin", "steel", "ebonite"), COLOURS),
        Thing("sketchbook", 16, ("cotton", "recycled", "grey"), SIZES),
        Thing("résumé folder", 13, ("leather", "cardboard", "felt"), COLOURS),
        Thing("pencil set", 19, ("cedar", "graphite", "pastel"), PIECES),
        Thing("paper tray", 24, (*WOODS[:3], "steel"), COLOURS),
        Thing("desk calendar", 14, ("paper", "wooden", "brass"), SIZES),
    ),
    "Sports": (
        Thing("yoga mat", 48, ("cork", "rubber", "wool"), COLOURS),
        Thing("football", 32, ("leather", "training", "indoor"), SIZES),
        Thing("skipping rope", 17, ("leather", "steel", "cotton"), LENGTHS),
        Thing("dumbbell pair", 56, ("cast iron", "rubber", "neoprene"), SIZES),
        Thing("tennis racket", 110, ("carbon", "aluminium", "ash"), SIZES),
        Thing("épée", 130, ("steel", "training"), LENGTHS),
    ),
    "Bicycles": (
        Thing("bicycle bell", 18, METALS, COLOURS),
        Thing("pannier", 79, BAGS, COLOURS),
        Thing("city bicycle", 890, ("steel", "aluminium", "touring"), COLOURS),
        Thing("saddle", 95, ("leather", "gel", "cork"), COLOURS),
        Thing("bicycle pump", 36, METALS, SIZES),
        Thing("bicycle lock", 49, ("steel", "folding", "titanium"), LENGTHS),
    ),
    "Tools": (
        Thing("hammer", 27, ("steel", "ash", "copper"), SIZES),
        Thing("screwdriver set", 33, ("steel", "magnetic", "titanium"), PIECES),
        Thing("cordless drill", 140, ("compact", "impact", "angle"), SIZES),
        Thing("hand saw", 29, ("steel", "folding", "garden"), LENGTHS),
        Thing("spirit level", 31, ("aluminium", "beech", "brass"), LENGTHS),
        Thing("tool box", 64, (*WOODS[:3], "steel"), SIZES),
    ),
    "Luggage": (
        Thing("backpack", 98, BAGS, COLOURS),
        Thing("suitcase", 170, ("aluminium", "polycarbonate", "leather"), SIZES),
        Thing("tote bag", 45, BAGS, COLOURS),
        Thing("attaché case", 240, ("leather", "aluminium", "cork"), COLOURS),
        Thing("wash bag", 32, BAGS, COLOURS),
        Thing("sports bag", 66, BAGS, COLOURS),
    ),
    "Audio": (
        Thing("headphones", 150, ("wireless", "wired", "leather"), COLOURS),
        Thing("radio", 88, (*WOODS[:3], "travel"), COLOURS),
        Thing("bookshelf speaker", 260, WOODS, COLOURS),
        Thing("record player", 310, (*WOODS[:3], "aluminium"), COLOURS),
        Thing("clock radio", 57, WOODS, COLOURS),
        Thing("microphone", 120, ("studio", "condenser", "wireless"), COLOURS),
    ),
    "Photography": (
        Thing("photo frame", 24, (*WOODS, "passe-partout"), SIZES),
        Thing("camera bag", 85, BAGS, COLOURS),
        Thing("tripod", 130, ("carbon", "aluminium", "beech"), SIZES),
        Thing("photo album", 31, ("linen", "leather", "paper"), COLOURS),
        Thing("lens cloth", 9, ("microfibre", "silk", "cotton"), COLOURS),
    ),
    "Pets": (
        Thing("dog bed", 74, TEXTILES, SIZES),
        Thing("feeding bowl", 19, CERAMICS, SIZES),
        Thing("cat tree", 110, (*WOODS[:3], "sisal"), SIZES),
        Thing("dog lead", 28, ("leather", "rope", "nylon"), COLOURS),
        Thing("scratching post", 52, ("sisal", "cardboard", "birch"), SIZES),
    ),
    "Baby": (
        Thing("night light", 33, ("porcelain", "wooden", "silicone"), COLOURS),
        Thing("baby carrier", 115, ("linen", "cotton", "merino"), COLOURS),
        Thing("purée maker", 76, ("steel", "glass"), VOLUMES),
        Thing("high chair", 190, WOODS, COLOURS),
        Thing("teether", 11, ("beech", "rubber", "silicone"), COLOURS),
    ),
    "Music": (
        Thing("ukulele", 95, ("mahogany", "koa", "walnut"), SIZES),
        Thing("music stand", 48, (*METALS, "beech"), COLOURS),
        Thing("cajón", 140, ("birch", "beech", "oak"), SIZES),
        Thing("guitar strap", 27, BAGS, COLOURS),
        Thing("metronome", 59, WOODS, COLOURS),
    ),
    "Camping": (
        Thing("tent", 290, ("canvas", "nylon", "trekking"), SIZES),
        Thing("sleeping bag", 145, ("down", "wool", "summer"), SIZES),
        Thing("water bottle", 24, ("steel", "glass", "aluminium"), VOLUMES),
        Thing("camp stove", 68, ("gas", "steel", "titanium"), SIZES),
        Thing("camping chair", 57, ("canvas", "aluminium", "beech"), COLOURS),
    ),
    "Cleaning": (
        Thing("laundry basket", 39, ("willow", "bamboo", "felt"), SIZES),
        Thing("broom", 22, ("horsehair", "coconut", "beech"), WIDTHS),
        Thing("bucket", 17, ("zinc", "enamelled", "recycled"), VOLUMES),
        Thing("kitchen brush", 8, ("beech", "bamboo", "copper"), SIZES),
    ),
    "Clocks": (
        Thing("wall clock", 62, (*WOODS, "enamelled"), DIAMETERS),
        Thing("alarm clock", 34, METALS, COLOURS),
        Thing("kitchen timer", 19, (*METALS, "enamelled"), COLOURS),
        Thing("hourglass", 26, ("glass", "walnut", "brass"), SIZES),
    ),
}

THINGS = tuple(thing for things in CATALOGUE.values() for thing in things)
