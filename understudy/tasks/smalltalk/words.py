"""The closed classes of the small world: every word here may occur in every split."""


def listed(words: str) -> tuple[str, ...]:
    """The words of a text, for long lists of short words."""
    return tuple(words.split())


JOBS = listed(
    """accountant actor architect artist baker barber builder butcher carpenter chef cleaner clerk coach cook dancer
    dentist designer doctor driver editor electrician engineer farmer gardener guard guide hairdresser jeweller judge
    lawyer librarian mechanic miner musician nurse optician painter pharmacist photographer pilot plumber potter
    programmer reporter sailor scientist singer soldier surgeon tailor translator vet waiter writer"""
)

FOODS = (
    *listed("pizza pasta rice soup curry sushi salad bread cheese chocolate pancakes noodles dumplings tacos lasagne"),
    *listed("mushrooms olives onions tomatoes potatoes beans lentils spinach cabbage carrots strawberries cherries"),
    *listed("grapes apples bananas mangoes waffles omelettes sausages falafel hummus porridge honey garlic fish"),
    *("apple pie", "ice cream", "fried rice", "roast chicken", "fish and chips", "scrambled eggs"),
)

DRINKS = (
    *listed("tea coffee milk water lemonade cocoa cola cider juice wine beer"),
    *(
        "green tea",
        "mint tea",
        "apple juice",
        "orange juice",
        "ginger ale",
        "hot chocolate",
        "iced tea",
        "black coffee",
    ),
)

COLOURS = listed(
    """red orange yellow green blue purple pink brown black white grey silver gold turquoise violet crimson beige
    maroon navy teal"""
)

MUSIC = (
    *listed("jazz rock pop blues folk soul techno reggae opera punk metal disco swing funk country salsa flamenco"),
    *("hip hop", "classical music", "film music", "choir music", "piano music"),
)

HOBBIES = (
    *listed("chess cycling hiking running swimming fishing sailing climbing skating skiing surfing rowing archery"),
    *listed("tennis football basketball badminton golf yoga judo karate knitting sewing weaving pottery drawing"),
    *listed("painting photography gardening cooking baking reading poetry origami juggling astronomy camping"),
    *listed("birdwatching woodwork calligraphy singing dancing"),
    *("board games", "stamp collecting", "crossword puzzles", "model trains", "horse riding"),
)

INSTRUMENTS = listed(
    """piano guitar violin cello flute clarinet trumpet trombone saxophone harp drums banjo accordion oboe ukulele
    mandolin tuba harmonica organ"""
)

LANGUAGES = listed(
    """Spanish French German Italian Portuguese Dutch Swedish Norwegian Danish Finnish Polish Russian Greek Turkish
    Arabic Hebrew Hindi Japanese Korean Chinese Welsh Irish Latin Swahili"""
)

MONTHS = listed("January February March April May June July August September October November December")

# kind -> plural
PETS = {
    "dog": "dogs",
    "cat": "cats",
    "rabbit": "rabbits",
    "hamster": "hamsters",
    "parrot": "parrots",
    "goldfish": "goldfish",
    "turtle": "turtles",
    "tortoise": "tortoises",
    "pony": "ponies",
    "horse": "horses",
    "goat": "goats",
    "donkey": "donkeys",
    "duck": "ducks",
    "hen": "hens",
    "lizard": "lizards",
    "snake": "snakes",
    "ferret": "ferrets",
    "mouse": "mice",
    "canary": "canaries",
    "iguana": "iguanas",
    "gecko": "geckos",
    "guinea pig": "guinea pigs",
}
COMMON_PETS = ("dog", "cat")  # as often as all others together

# relation -> youngest and oldest age at which one may tell it; relations without ages stand in ELDERS
KIN_AGES = {
    "sister": (4, 40),
    "brother": (4, 40),
    "son": (2, 18),
    "daughter": (2, 18),
    "cousin": (4, 40),
    "niece": (2, 18),
    "nephew": (2, 18),
}
ELDERS = (
    *listed("mother father wife husband partner aunt uncle grandmother grandfather neighbour boss"),
    "best friend",
)
SEXES = dict.fromkeys(listed("sister daughter niece mother wife aunt grandmother"), "woman") | dict.fromkeys(
    listed("brother son nephew father husband uncle grandfather"), "man"
)
NOT_FAMILY = ("neighbour", "boss", "best friend")

# when it is said -> the day on its own
DAYS = {f"on {day}": day for day in listed("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")} | {
    when: when for when in ("tomorrow", "tonight", "this weekend", "next week")
}

ACTIVITIES = (
    *("going to the dentist", "going to the beach", "going to the theatre", "going to the museum", "going dancing"),
    *("going to the market", "going to a concert", "going to a wedding", "going camping", "going fishing"),
    *("painting the fence", "painting the kitchen", "painting the bathroom", "cleaning the garage"),
    *("cleaning the windows", "cleaning the cellar", "washing the car", "selling the car", "repairing the roof"),
    *("repairing the bike", "mowing the lawn", "planting tomatoes", "planting a tree", "baking a cake"),
    *("baking bread", "cooking a big dinner", "making jam", "visiting a friend", "visiting the castle"),
    *("visiting the zoo", "taking an exam", "taking the train to the sea", "taking the ferry to the island"),
    *("moving house", "building a shed", "building a bookcase", "buying a new bed", "buying shoes"),
    *("meeting an old friend", "meeting the bank manager", "playing in a band", "playing cards", "giving a speech"),
    *("having a party", "having a picnic", "having a haircut", "flying a kite", "watching a play"),
)

COUNTRIES = listed("France Peru Canada Egypt Japan Kenya Norway Brazil India Iceland Cuba Nepal")

NUMBERS = listed(
    """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty"""
)


def with_article(noun: str) -> str:
    """The noun with "a" or "an".

    >>> with_article("iguana"), with_article("best friend")
    ('an iguana', 'a best friend')
    """
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
