"""Words and prices of the demo catalogue; every maker is made up."""

from typing import NamedTuple


class Line(NamedTuple):
    """What a category sells: things, how each is finished, and between which whole prices."""

    things: tuple[str, ...]
    finishes: tuple[str, ...]
    cheapest: int
    dearest: int


COLOURS = (
    *("amber", "black", "brick red", "charcoal", "cream", "forest green", "indigo"),
    *("moss", "mustard", "slate", "sky blue", "terracotta", "white"),
)
WOODS = ("ash", "beech", "cherry", "oak", "painted white", "pine", "smoked oak", "walnut")
METALS = ("brass", "black steel", "brushed steel", "copper", "enamelled", "white")
BINDINGS = ("hardback", "paperback", "cloth-bound", "with illustrations", "second edition")
SIZES = ("small", "medium", "large", "extra large")

CATALOGUE: dict[str, Line] = {
    "Books": Line(
        ("cookbook", "atlas", "novel", "field guide", "notebook", "art book"), BINDINGS, 6, 70
    ),
    "Kitchen": Line(
        ("saucepan", "kettle", "chef's knife", "cutting board", "teapot", "whisk"), METALS, 8, 180
    ),
    "Home textiles": Line(
        ("blanket", "cushion", "bath towel", "curtain", "bed linen set"), COLOURS, 9, 160
    ),
    "Garden": Line(
        ("watering can", "pruning shears", "garden hose", "planter", "rake"), COLOURS, 7, 140
    ),
    "Toys": Line(("puzzle", "building set", "kite", "wooden train", "board game"), WOODS, 5, 90),
    "Lighting": Line(
        ("desk lamp", "floor lamp", "pendant lamp", "lantern", "string lights"), METALS, 12, 320
    ),
    "Furniture": Line(
        ("desk", "armchair", "bookshelf", "dining table", "stool", "sideboard"), WOODS, 45, 1900
    ),
    "Stationery": Line(
        ("fountain pen", "sketchbook", "paper tray", "pencil set", "ruler"), COLOURS, 2, 120
    ),
    "Sports": Line(
        ("yoga mat", "skipping rope", "dumbbell pair", "football", "tennis racket"), SIZES, 6, 240
    ),
    "Bicycles": Line(
        ("bicycle pump", "pannier", "bell", "saddle", "city bicycle"), COLOURS, 8, 1400
    ),
    "Tools": Line(
        ("hammer", "cordless drill", "spirit level", "screwdriver set", "hand saw"), SIZES, 6, 290
    ),
    "Luggage": Line(
        ("suitcase", "backpack", "wash bag", "tote bag", "weekender"), COLOURS, 15, 380
    ),
    "Audio": Line(
        ("headphones", "bookshelf speaker", "record player", "radio", "microphone"),
        COLOURS,
        20,
        900,
    ),
    "Photography": Line(
        ("tripod", "camera bag", "lens cloth", "photo frame", "flash"), COLOURS, 5, 700
    ),
    "Pets": Line(("dog bed", "cat tree", "feeding bowl", "lead", "scratching post"), SIZES, 5, 190),
    "Baby": Line(
        ("pram blanket", "high chair", "night light", "teether", "baby carrier"), COLOURS, 6, 420
    ),
    "Music": Line(
        ("ukulele", "music stand", "metronome", "guitar strap", "tambourine"), WOODS, 8, 350
    ),
    "Camping": Line(
        ("tent", "sleeping bag", "camp stove", "head torch", "water bottle"), COLOURS, 9, 650
    ),
    "Cleaning": Line(
        ("broom", "dustpan", "laundry basket", "window wiper", "bucket"), COLOURS, 3, 80
    ),
    "Clocks": Line(("wall clock", "alarm clock", "kitchen timer", "hourglass"), WOODS, 8, 260),
}

MAKERS = (
    "Alder & Finch", "Bremmer", "Calluna", "Dorrow", "Eskdale", "Fennick", "Gorsebank", "Halden",
    "Ivarsen", "Junipera", "Kestrelworks", "Lomond", "Marrow", "Northby", "Ostwick", "Pellworth",
)  # fmt: skip

QUALITIES = (
    "Classic", "Compact", "Everyday", "Folding", "Handmade", "Large", "Light", "Modern",
    "Original", "Plain", "Robust", "Small", "Soft", "Studio", "Travel", "Vintage",
)  # fmt: skip

DESCRIPTIONS = (
    "A {thing} for every day, made by {maker} to last and to be repaired.",
    "{maker} makes this {thing} in small series, and checks each one by hand.",
    "The {thing} that started it all: simple, sturdy, and easy to look after.",
    "Designed with people who use a {thing} daily. Packed without plastic.",
)
