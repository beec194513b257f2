"""Words and prices of the demo catalogue; every maker is made up."""

# Category: what is sold in it, and between which whole prices.
CATALOGUE: dict[str, tuple[tuple[str, ...], int, int]] = {
    "Books": (("cookbook", "atlas", "novel", "field guide", "notebook", "art book"), 6, 70),
    "Kitchen": (("saucepan", "kettle", "chef's knife", "cutting board", "teapot", "whisk"), 8, 180),
    "Home textiles": (("blanket", "cushion", "bath towel", "curtain", "bed linen set"), 9, 160),
    "Garden": (("watering can", "pruning shears", "garden hose", "planter", "rake"), 7, 140),
    "Toys": (("puzzle", "building set", "kite", "wooden train", "board game"), 5, 90),
    "Lighting": (("desk lamp", "floor lamp", "pendant lamp", "lantern", "string lights"), 12, 320),
    "Furniture": (
        ("desk", "armchair", "bookshelf", "dining table", "stool", "sideboard"),
        45,
        1900,
    ),
    "Stationery": (("fountain pen", "sketchbook", "paper tray", "pencil set", "ruler"), 2, 120),
    "Sports": (("yoga mat", "skipping rope", "dumbbell pair", "football", "tennis racket"), 6, 240),
    "Bicycles": (("bicycle pump", "pannier", "bell", "saddle", "city bicycle"), 8, 1400),
    "Tools": (("hammer", "cordless drill", "spirit level", "screwdriver set", "hand saw"), 6, 290),
    "Luggage": (("suitcase", "backpack", "wash bag", "tote bag", "weekender"), 15, 380),
    "Audio": (("headphones", "bookshelf speaker", "record player", "radio", "microphone"), 20, 900),
    "Photography": (("tripod", "camera bag", "lens cloth", "photo frame", "flash"), 5, 700),
    "Pets": (("dog bed", "cat tree", "feeding bowl", "lead", "scratching post"), 5, 190),
    "Baby": (("pram blanket", "high chair", "night light", "teether", "baby carrier"), 6, 420),
    "Music": (("ukulele", "music stand", "metronome", "guitar strap", "tambourine"), 8, 350),
    "Camping": (("tent", "sleeping bag", "camp stove", "head torch", "water bottle"), 9, 650),
    "Cleaning": (("broom", "dustpan", "laundry basket", "window wiper", "bucket"), 3, 80),
    "Clocks": (("wall clock", "alarm clock", "kitchen timer", "hourglass"), 8, 260),
}

MAKERS = (
    "Alder & Finch", "Bremmer", "Calluna", "Dorrow", "Eskdale", "Fennick", "Gorsebank", "Halden",
    "Ivarsen", "Junipera", "Kestrelworks", "Lomond", "Marrow", "Northby", "Ostwick", "Pellworth",
)  # fmt: skip

QUALITIES = (
    "Classic", "Compact", "Everyday", "Folding", "Handmade", "Large", "Light", "Modern",
    "Original", "Plain", "Robust", "Small", "Soft", "Studio", "Travel", "Vintage",
)  # fmt: skip

COLOURS = (
    "amber", "black", "brick red", "charcoal", "cream", "forest green", "indigo", "linen white",
    "moss", "mustard", "oak", "slate", "sky blue", "terracotta", "walnut",
)  # fmt: skip

DESCRIPTIONS = (
    "A {thing} for every day, made by {maker} to last and to be repaired.",
    "{maker} makes this {thing} in small series, and checks each one by hand.",
    "The {thing} that started it all: simple, sturdy, and easy to look after.",
    "Designed with people who use a {thing} daily. Packed without plastic.",
)
