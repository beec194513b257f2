"""Words of the demo catalogue; every brand, series and place is made up."""

from __future__ import annotations

from typing import NamedTuple


class Variants(NamedTuple):
    """The variants of a kind of product; each costs `price_step` times the one before."""

    words: tuple[str, ...]
    price_step: float = 1


COLOURS = Variants((
    "black", "white", "charcoal", "cream", "moss", "sky blue", "terracotta", "forest green",
    "mustard", "indigo", "écru", "slate", "brick red", "rosé", "amber",
))  # fmt: skip
SIZES = Variants(("medium", "small", "large", "extra large"), 1.1)
DIAMETERS = Variants(("20 cm", "24 cm", "28 cm", "32 cm"), 1.2)
WIDTHS = Variants(("80 cm", "120 cm", "140 cm", "160 cm", "180 cm"), 1.15)
LENGTHS = Variants(("18 cm", "25 cm", "40 cm", "60 cm", "90 cm"), 1.1)
VOLUMES = Variants(("0.5 l", "1 l", "1.5 l", "2.5 l"), 1.2)
PIECES = Variants(("4 pieces", "6 pieces", "12 pieces", "24 pieces"), 1.3)
BINDINGS = Variants(("paperback", "hardback", "cloth-bound", "second edition"), 1.25)

WOODS = ("oak", "beech", "walnut", "ash", "pine", "bamboo", "cherry")
METALS = ("brass", "steel", "copper", "aluminium")
PANS = ("steel", "cast iron", "copper", "enamelled", "aluminium")
CERAMICS = ("stoneware", "porcelain", "terracotta", "glass", "earthenware")
TEXTILES = ("linen", "cotton", "wool", "velvet", "merino", "piqué", "hemp")
BAGS = ("canvas", "leather", "nylon", "cork", "felt")

# Some differ by a letter, an accent or a word alone.
BRANDS = (
    "Alder & Finch", "Bremmer", "Calluna", "Maison Évrelle", "Dorrow", "Eskdale", "Fennick",
    "Tønsvig", "Gorsebank", "Halden", "Ivarsen", "Junipera", "Brûmelle", "Kestrelworks", "Lomond",
    "Müggen & Söhne", "Marrow", "Fennik", "Northby", "Zéphire & Cie", "Ostwick", "Pellworth",
    "Señara", "Quillon & Quince", "Ostvik", "Thistledown & Dray", "Åkervind", "Vantrow", "Ébénor",
    "Wexmere", "Dorrow & Daughters", "Haldén", "Weißenbrook", "Yarrowby", "Châtelune", "Underhay",
    "Łozina", "Bremmer & Blythe", "Cœurelle", "Façonelle",
)  # fmt: skip

QUALITIES = (
    "Classic", "Everyday", "Studio", "Compact", "Original", "Folding", "Handmade", "Travel",
    "Light", "Modern", "Vintage", "Robust", "Plain", "Soft", "Petite", "Déco",
)  # fmt: skip

# The name of a series has one of each: some twenty thousand names.
BEGINNINGS = (
    "Bal", "Cor", "Del", "Fen", "Gal", "Hol", "Jor", "Kel", "Lun", "Mar", "Nor", "Pel", "Quil",
    "Ros", "Sel", "Tor", "Ul", "Var", "Wil", "Yar", "Zan", "Brü", "Thé", "Åsk",
)  # fmt: skip
MIDDLES = (
    "a", "be", "di", "fo", "gu", "ha", "ke", "li", "mo", "ne", "pi", "ra", "se", "ti", "va", "wi",
    "bru", "cla", "dre", "flo", "gra", "pri", "ste", "tro",
)  # fmt: skip
ENDS = (
    "dan", "fell", "gren", "hurst", "lo", "mir", "na", "quist", "ra", "sund", "tal", "via", "wick",
    "zell", "bert", "cott", "dale", "ford", "gate", "holm", "ling", "mond", "nock", "pard", "ric",
    "stad", "ton", "vane", "worth", "yard", "bourne", "bäck", "ñol", "lund", "çon", "mere",
)  # fmt: skip
SERIES_COUNT = len(QUALITIES) + len(BEGINNINGS) * len(MIDDLES) * len(ENDS)
NAME_STEP = 7919  # coprime to the number of names, so that each name comes once


# Endings of irregular plurals; a thing that ends in another "s" is a plural already.
IRREGULAR_ENDINGS = {
    "atlas": "atlases",
    "ss": "sses",
    "s": "s",
    "shelf": "shelves",
    "knife": "knives",
}


def series_name(rank: int) -> str:
    """Return the name of a series; each rank below SERIES_COUNT has a name of its own."""
    if rank < len(QUALITIES):
        return QUALITIES[rank]
    number = rank * NAME_STEP  # so that the names of neighbours differ
    number, end = divmod(number, len(ENDS))
    number, middle = divmod(number, len(MIDDLES))
    return BEGINNINGS[number % len(BEGINNINGS)] + MIDDLES[middle] + ENDS[end]


def plural(thing: str) -> str:
    """Return the plural of a thing, by its last letters."""
    for singular, ending in IRREGULAR_ENDINGS.items():
        if thing.endswith(singular):
            return thing.removesuffix(singular) + ending
    return thing + ("es" if thing.endswith(("ch", "sh", "x")) else "s")


# Descriptions also name things that other products are called, in the singular and the plural.
OPENINGS = (
    "Made by {brand} to last and to be repaired, for those who use {things} every day.",
    "{brand} makes its {things} in small series, and checks each one by hand.",
    "The {thing} that started it all: simple, sturdy, and easy to look after.",
    "Designed with people who know {things} well.",
    "One of the {things} that {brand} has made since its first year.",
    "The shape is that of {things} from the Belle Époque.",
    "Drawn after the façade of an old café in {place}.",
    "Made in {place}, where good {things} come from.",
    "Nothing passé about it: no more parts than needed, and each can be had again.",
    "Like all {things} by {brand}, it is made for a lifetime, and so is its guarantee.",
)
DETAILS = (
    "Packed without plastic.",
    "Spare parts are kept for ten years.",
    "Wipe with a damp cloth, and keep out of the dishwasher.",
    "The box makes a good gift, or a home for a small cat.",
    "Tested by children, dogs and large families.",
    "All that it is made of comes from {place}.",
    "The edges are rounded, and the colour does not fade in the sun.",
    "Instructions in English, Français and Español.",
    "Winner of the prize of the city of {place}.",
    "A cliché, perhaps, but they made them better then; so does {brand}.",
)
MENTIONS = (
    "Goes well with {others}.",
    "Many buy it with one of our {others}.",
    "Not to be mistaken for one of our {others}.",
    "At home in a kitchen, in a garden, and on a camping trip.",
    "Takes up less room than most {others}.",
    "A present for friends of {others}, and for a soirée.",
    "Voilà: as useful as {others}, and half as heavy.",
    "For a nursery with a baby, a hallway with bicycles, or a desk full of books.",
    "Of a series that has {others} to match.",
    "Matches the décor of a café, and the oak of a desk.",
    "Music lovers keep it beside their headphones.",
    "For travellers: fits into a suitcase or a backpack.",
)
