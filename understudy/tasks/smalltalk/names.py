"""Names, towns and pet names: real ones and made-up ones, each belonging to exactly one split."""

import re
from collections.abc import Callable
from typing import Literal
from zlib import crc32

from understudy.tasks.smalltalk.words import listed

Split = Literal["train", "valid", "test"]

# With this salt "Ottoline" belongs to "test": she is the guest of our demonstrations and must never be trained on.
_SALT = "prompter "

WOMEN = listed(
    """Abigail Agnes Aisha Alejandra Alice Alina Alma Amara Amelia Amina Amy Ana Angela Anita Anna Annika Anya
    Astrid Aurora Barbara Beatrice Bianca Brenda Bridget Camille Carla Carmen Caroline Catherine Cecilia Charlotte
    Chloe Christine Clara Claudia Cora Daniela Daria Deborah Diana Dolores Doris Dorothy Edith Eileen Elena Elif
    Elisa Elizabeth Ella Ellen Elsa Emilia Emily Emma Erika Esther Eva Evelyn Fatima Fiona Flora Florence Frances
    Freya Frida Gemma Georgia Gina Gloria Greta Hana Hannah Harriet Heather Heidi Helen Ida Ilse Ines Ingrid Irene
    Iris Isabel Jane Janet Jasmine Jennifer Jessica Joan Joanna Judith Julia Karen Kate Katya Keiko Klara Lara Laura
    Lauren Layla Lea Leila Lena Lina Linda Lisa Liz Louise Lucia Lucy Lydia Margaret Maria Marina Marta Martha Mary
    Matilda Maya Mei Melissa Mila Mina Miriam Molly Monica Nadia Naomi Natalia Nia Nicole Nina Nora Olga Olivia
    Pamela Patricia Paula Penelope Petra Phoebe Priya Rachel Ramona Rania Rebecca Regina Renata Rita Rosa Roxana
    Ruth Sabine Salma Samira Sandra Sara Sarah Sheila Sigrid Silvia Sofia Sonia Stella Susan Svetlana Sylvia Tamara
    Tanya Tara Teresa Thea Ursula Valentina Vera Veronica Victoria Viola Violet Vivian Wanda Wendy Yara Yasmin
    Yolanda Yuki Yvonne Zara Zoe Zofia"""
)

MEN = listed(
    """Aaron Adam Adrian Ahmed Alan Albert Alexander Amir Andre Andrew Anton Antonio Arjun Arthur Axel Basil Ben
    Benjamin Bernard Boris Brian Bruno Carlos Charles Christopher Colin Cyril Daniel David Denis Diego Dmitri
    Dominic Dylan Edgar Edward Eli Elias Emil Enzo Eric Ernest Ethan Felix Fernando Francis Frank Gabriel George
    Gerald Giovanni Gordon Gustav Hamid Harold Harry Hassan Hector Henrik Henry Hiroshi Howard Hugo Ian Ibrahim Igor
    Imran Isaac Ismail Ivan Jacob Jamal James Jan Jason Javier Jeremy Joel Johan John Jonas Jonathan Jorge Josef
    Joseph Joshua Juan Julian Kamal Karim Karl Keith Kenji Kevin Khalid Kofi Kurt Larry Lars Leo Leon Leonard
    Lorenzo Louis Lucas Ludwig Luis Magnus Malik Manuel Marcel Marco Mario Martin Mateo Matthew Mehmet Michael
    Miguel Mike Mohammed Nathan Neil Nelson Nicholas Nikolai Noah Norman Olaf Oliver Omar Oscar Otto Pablo Patrick
    Paul Pedro Peter Philip Pierre Quentin Rafael Rahul Raj Ralph Raymond Richard Robert Roberto Roger Roland Roman
    Ron Ruben Rupert Ryan Samuel Sebastian Selim Sergei Simon Stefan Stephen Steven Stuart Theo Thomas Tim Timothy
    Tobias Tom Tomas Tony Victor Vikram Vincent Vladimir Walter William Xavier Yusuf Zachary"""
)

SURNAMES = listed(
    """Abbott Andersen Bauer Bennett Bianchi Carter Castillo Cohen Costa Davies Dubois Edwards Evans Fischer Fuentes
    Garcia Gupta Haddad Hansen Harris Hoffmann Hughes Ivanova Jackson Jensen Johnson Jones Kaya Keller Kowalski Kumar
    Larsen Lopez Martinez Meyer Mitchell Morales Moreau Nguyen Nielsen Novak Okafor Olsen Patel Peterson Quinn Ramirez
    Roberts Rossi Sanders Schmidt Sharma Silva Smith Suzuki Tanaka Thompson Torres Wagner Watanabe Weber Williams
    Wilson"""
)

TOWNS = listed(
    """Aberdeen Accra Adelaide Alicante Amsterdam Ankara Antwerp Athens Atlanta Auckland Baltimore Bangkok Barcelona
    Basel Beirut Belfast Belgrade Bergen Berlin Bern Bilbao Birmingham Bogota Bologna Bordeaux Boston Bratislava Bremen
    Brighton Brisbane Bristol Brussels Bucharest Budapest Cairo Calgary Cambridge Canberra Cardiff Casablanca Chicago
    Cologne Copenhagen Cordoba Cork Dakar Dallas Darwin Delhi Denver Derby Detroit Dresden Dublin Dundee Durban Durham
    Edinburgh Exeter Florence Frankfurt Galway Gdansk Geneva Genoa Ghent Glasgow Granada Graz Hamburg Hanoi Havana
    Helsinki Houston Istanbul Jakarta Karachi Kingston Kobe Krakow Kyoto Lagos Lausanne Leeds Leicester Leipzig Lille
    Lima Lisbon Liverpool Ljubljana London Lyon Madrid Malaga Manchester Manila Marseille Melbourne Memphis Miami Milan
    Montreal Moscow Mumbai Munich Nairobi Naples Nice Norwich Nottingham Odessa Osaka Oslo Ottawa Oxford Palermo Paris
    Perth Pisa Plymouth Porto Prague Quito Reykjavik Riga Rome Rotterdam Salzburg Santiago Seattle Seoul Seville
    Shanghai Sheffield Singapore Sofia Stockholm Stuttgart Sydney Tallinn Tampere Tbilisi Tokyo Toronto Toulouse Trieste
    Tunis Turin Utrecht Valencia Vancouver Venice Verona Vienna Vilnius Warsaw Wellington Winnipeg York Zagreb
    Zurich"""
)

PET_NAMES = listed(
    """Ace Alfie Angus Apollo Archie Athena Bailey Bandit Barney Baxter Bella Benji Bertie Betsy Billy Bobby Bonnie
    Boomer Brutus Bruno Buddy Buster Casper Charlie Chester Chico Cleo Coco Cookie Daisy Dexter Diesel Dobby Dolly Duke
    Elvis Felix Fido Fluffy Frankie Gizmo Goldie Gus Hazel Hercules Holly Jasper Jerry Juno Kiki Kira Koko Lady Lassie
    Lenny Loki Lola Lucky Luna Mabel Maisie Marley Max Merlin Millie Milo Mimi Minnie Misty Mochi Monty Moose Muffin
    Nala Nelly Nemo Oreo Otis Paddy Patch Peanut Pebbles Percy Pippa Pippin Pluto Poppy Rambo Rex Rocky Roxy Rufus Rusty
    Sadie Sammy Scout Shadow Simba Skippy Smokey Snowy Socks Sooty Sparky Spot Stella Taffy Teddy Thor Tilly Toby Tommy
    Trixie Tweety Waffles Whiskers Wilma Winnie Yoyo Zeus Ziggy Zorro"""
)

_ONSETS = listed(
    "b d f g h j k l m n p r s t v z " * 3
    + """b br c ch cl d dr f fl fr g gl gr h j k kl kr l m n p ph pl pr qu r s sh sk sl sp st t th tr tw v w x y z
    zh"""
)
_VOWELS = listed("a e i o u " * 12 + "ai au ea ee ei ia ie io oa oo ou ua y")
_MIDDLES = listed(
    "b d g k l m n p r s t v z " * 3
    + """b bb ck d dd dr ff g gg l ld ll lm ln lt lv m mb mm mp n nd ng nk nn nt p ph pp r rd rk rl rm rn rr rt rv s sh
    sk ss st t th tt tr v vr x z zz"""
)
_CODAS = listed("b ck d f g k l ll m n nd ng nk nn p r rd rk rn rt s sh sk ss st t th tt v x z")
_PERSON_ENDINGS = listed(
    """a ia o e en in on el al is us as ine ette ara ora elle y ie i ek ik wyn dor mir lina ina ita ola ander ette
    oline amin esh ita ko ya"""
)
_TOWN_ENDINGS = listed(
    """ton ford moor by burg burgh ville haven wick mouth field stead dale port holm grad ova pur ia os ham ley worth
    bury stadt minster pool bridge ano ara ingen chester wood mere"""
)
_PET_ENDINGS = ("", "", "", "", "y", "ie", "o", "i", "a", "le", "er", "us")
# A tokenizer cuts "Howard" into " How" and "ard": names that begin like common words must be practised too.
_COMMON_STARTS = listed(
    """how what who where is it in on an am are as at the do can my no yes for and be to we all so was his her one two
    you not old mar per car pet cat dog sun win low hard may by"""
)
TOWN_FIRSTS = ("Port", "New", "Saint", "Lake", "San", "East", "Old", "Fort")

RUDE = re.compile(
    "fuc|fuk|shit|cunt|nig|fag|cum|tit|dick|cock|puss|rape|slut|who?re|nazi|anal|anus|peni|arse|wank|pric"
)

COMMON_START = 0.15
"""Share of made-up names and towns that begin like a common word."""

Rand = Callable[[], float]


def split_of(word: str) -> Split:
    """The only split in which an open-class word may stand, by its hash: eight tenths train, a tenth for each other.

    >>> split_of("Ottoline"), split_of("ottoline")
    ('test', 'test')
    """
    share = crc32((_SALT + word.lower()).encode()) % 10
    return "valid" if share == 8 else "test" if share == 9 else "train"


def coin_person(rand: Rand) -> str:
    """A made-up first name, such as "Zorvia"."""
    if rand() < 0.15:
        return _coin_anything(rand)
    if rand() < COMMON_START:
        return (_pick(_COMMON_STARTS, rand) + _pick(_PERSON_ENDINGS, rand)).capitalize()
    stem = _pick(_ONSETS, rand) + _pick(_VOWELS, rand) if rand() < 0.85 else _pick(_VOWELS, rand)
    if rand() < 0.2:
        stem += _pick(_MIDDLES, rand) + _pick(_VOWELS, rand)
    return (stem + _pick(_MIDDLES, rand) + _pick(_PERSON_ENDINGS, rand)).capitalize()


def coin_town(rand: Rand) -> str:
    """A made-up town, such as "Plenmoor"."""
    if rand() < 0.2:
        return _coin_anything(rand)
    if rand() < COMMON_START:
        return (_pick(_COMMON_STARTS, rand) + _pick(_TOWN_ENDINGS, rand)).capitalize()
    stem = _pick(_ONSETS, rand) + _pick(_VOWELS, rand)
    if rand() < 0.15:
        stem += _pick(_MIDDLES, rand) + _pick(_VOWELS, rand)
    return (stem + _pick(_CODAS, rand) + _pick(_TOWN_ENDINGS, rand)).capitalize()


def coin_pet(rand: Rand) -> str:
    """A made-up pet name, such as "Bix"."""
    if rand() < 0.15:
        return coin_person(rand)
    return (_pick(_ONSETS, rand) + _pick(_VOWELS, rand) + _pick(_CODAS, rand) + _pick(_PET_ENDINGS, rand)).capitalize()


def _coin_anything(rand: Rand) -> str:
    """Syllables in any order: whatever a live user may be called should not look too strange."""
    word = "" if rand() < 0.2 else _pick(_ONSETS, rand)
    for _ in range(1 + int(rand() * 2)):
        word += _pick(_VOWELS, rand) + _pick(_MIDDLES, rand)
    return (word + _pick(_VOWELS, rand) + (_pick(_CODAS, rand) if rand() < 0.4 else "")).capitalize()


def _pick(choices: tuple[str, ...], rand: Rand) -> str:
    return choices[int(rand() * len(choices))]


COINS: dict[str, Callable[[Rand], str]] = {
    "person": coin_person,
    "woman": coin_person,
    "man": coin_person,
    "town": coin_town,
    "pet": coin_pet,
}
COMMON = {"person": WOMEN + MEN, "woman": WOMEN, "man": MEN, "town": TOWNS, "pet": PET_NAMES}
