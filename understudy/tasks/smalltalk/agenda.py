"""What one user means to tell in a conversation, drawn before it begins."""

from understudy.tasks.smalltalk.names import Rand
from understudy.tasks.smalltalk.world import Fact, World

Item = tuple[Fact, ...]  # facts that are told in one line


def draw_agenda(world: World) -> list[Item]:
    """Return everything that the user means to tell, in order."""
    mix, rand = world.mix, world.rand
    agenda: list[Item] = []
    for topic in dict.fromkeys(mix.told.draw(rand) for _ in range(int(mix.facts.draw(rand)))):
        agenda += _items(world, topic, [fact.about for item in agenda for fact in item])
    if rand() < mix.name_told:
        # First of all, or somewhere among the rest.
        place = 0 if rand() < mix.name_first else int(rand() * (len(agenda) + 1))
        agenda.insert(place, _item(world.fact("name")))
    return [item for item in agenda if item]


def _items(world: World, topic: str, taken: list[str]) -> list[Item]:
    if topic == "pet":
        # The name and, at times, the age: in one line or in two.
        name, age = _named(world, "pet", world.kind(taken))
        if world.rand() < 0.6:
            return [name]
        return [name + age] if world.rand() < 0.4 else [name, age]
    if topic == "two pets":
        first = world.kind(taken)
        return _side_by_side(world.rand, _named(world, "pet", first), _named(world, "pet", world.kind([first, *taken])))
    if topic == "a pair":
        return [_item(world.pair(world.kind(taken)))]
    if topic == "kin":
        return [_item(world.fact("kin", world.relation(taken)))]
    if topic == "two kin":
        first = world.relation(taken, young=True)
        second = world.relation([first, *taken], young=True)
        return _side_by_side(world.rand, _named(world, "kin", first), _named(world, "kin", second))
    return [_item(world.fact(topic))]


def _named(world: World, topic: str, about: str) -> tuple[Item, Item]:
    """Return the name and the age of a pet or a relative."""
    return _item(world.fact(topic, about)), _item(world.fact(f"{topic} age", about))


def _side_by_side(rand: Rand, first: tuple[Item, Item], second: tuple[Item, Item]) -> list[Item]:
    """Tell both names in one line and both ages in the next, or all at once."""
    if rand() < 0.3:
        return [first[0] + second[0] + first[1] + second[1]]
    return [first[0] + second[0], first[1] + second[1]]


def _item(fact: Fact | None) -> Item:
    return (fact,) if fact else ()
