"""The closed classes of the small world: every word in words.toml may occur in every split."""

from understudy.tasks.smalltalk.topic import Lines, read_toml

_tables = read_toml("words.toml")

# Topic to what may be told of it.
VALUES: dict[str, Lines] = _tables["values"]
COUNTRIES: Lines = _tables["countries"]
NUMBERS: Lines = _tables["numbers"]

# Kind to plural. The common ones are as frequent as all others together.
PETS: dict[str, str] = _tables["pets"]
COMMON_PETS: Lines = _tables["common_pets"]
# Relation to the youngest and oldest age at which one may tell it; elders have no age.
KIN_AGES: dict[str, tuple[int, int]] = _tables["kin_ages"]
ELDERS: Lines = _tables["elders"]
SEXES: dict[str, str] = _tables["sexes"]
RELATIVES: Lines = (*KIN_AGES, *ELDERS)
NOT_FAMILY: Lines = _tables["not_family"]
# When it is said ("on Monday") to the day on its own.
DAYS: dict[str, str] = _tables["days"]


def with_article(noun: str) -> str:
    """Return the noun with "a" or "an".

    >>> with_article("iguana"), with_article("best friend")
    ('an iguana', 'a best friend')
    """
    return f"an {noun}" if noun[0].lower() in "aeiou" else f"a {noun}"
