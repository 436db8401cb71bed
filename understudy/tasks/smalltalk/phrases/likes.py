"""What users tell about their tastes: food, drinks, colours, music, hobbies, instruments, languages."""

from understudy.tasks.smalltalk.phrases.topic import Exchange, Lines, Topic


def _favourite(
    noun: str, kinds: str, kind: str, tell: Lines, ask: Lines, echo: Lines, more: tuple[Exchange, ...]
) -> Topic:
    """A topic of the shape "my favourite NOUN is VALUE", with lines of its own added to those that all such share."""
    return Topic(
        tell=(
            *(f"My favourite {noun} is {{v}}.", f"My favourite {noun} is {{v}}."),
            *(f"My favourite {noun} must be {{v}}.", f"I'd say my favourite {noun} is {{v}}."),
            *(f"Of all {kinds} I like {{v}} best.", *tell),
        ),
        clause=(f"my favourite {noun} is {{v}}", *(line.rstrip(".") for line in tell if line.startswith("I "))),
        short=("{V}.", "{V}.", "{V}, I think.", "I like {v} best.", f"My favourite {noun} is {{v}}.", "{V}, for sure."),
        terse=(f"Favourite {noun}: {{v}}.", f"Best {noun}: {{v}}.", "I like {v} best."),
        mine=(
            *(f"my favourite {noun}", f"my favourite {noun}"),
            *(f"what my favourite {noun} is", f"which {noun} I like best"),
        ),
        ask=(
            *(f"What's my favourite {noun}?", f"What is my favourite {noun}?", f"Which {noun} do I like best?"),
            *(f"What {noun} do I like best?", f"What did I say my favourite {noun} was?", *ask),
        ),
        terse_ask=(f"My favourite {noun}?", f"Favourite {noun}?", f"And my favourite {noun}?"),
        yours=f"your favourite {noun}",
        prompt=(
            *(f"What's your favourite {noun}?", f"Which {noun} do you like best?"),
            *(f"Do you have a favourite {kind}?",),
        ),
        echo=("{V}, good choice.", "OK, {v}. I'll remember that.", "So you like {v}.", "{V}! Good to know.", *echo),
        reply=(
            *(f"Your favourite {noun} is {{v}}.", "It's {v}.", "You like {v} best.", "You told me it's {v}."),
            *("{V}, of course.", "You said you like {v} best."),
        ),
        fix=(
            *(f"Actually, my favourite {noun} is {{v}}.", "I changed my mind, I like {v} best now."),
            *("I like {v} more now.", f"No, wait, my favourite {noun} is {{v}}.", "Actually, I like {v} best."),
        ),
        fix_echo=(
            *("All right, {v} then.", "OK, so {v} it is."),
            *(f"Got it, your favourite {noun} is {{v}} now.", "{V}, I see."),
        ),
        more=more,
    )


FOOD = _favourite(
    "food",
    "foods",
    "food",
    tell=(
        *("I love {v}.", "I really like {v}.", "I could eat {v} every day."),
        *("I love eating {v}.", "I eat a lot of {v}."),
    ),
    ask=("What food do I love?", "What do I love to eat?", "What could I eat every day?"),
    echo=("I've never tasted {v}, but it sounds good.", "{V}! You have good taste.", "I wish I could taste {v}."),
    more=(
        Exchange(
            ("I'm having {v} for dinner.", "I'm making {v} for dinner."),
            ("Enjoy your {v}!", "{V} again? You really like it."),
        ),
        Exchange(
            ("I had {v} for lunch.", "There was {v} for lunch."),
            ("You really do like {v}.", "A good lunch, then."),
        ),
        Exchange(("I'm hungry.", "I'm so hungry."), ("Maybe have some {v}.", "Time for some {v}, then.")),
    ),
)

DRINK = _favourite(
    "drink",
    "drinks",
    "drink",
    tell=("I love {v}.", "I drink a lot of {v}.", "I always drink {v}.", "I can't start the day without {v}."),
    ask=("What do I like to drink?", "What do I drink?", "What do I always drink?"),
    echo=("I can't drink, but {v} sounds good.", "A glass of {v} for you, then.", "{V} sounds refreshing."),
    more=(
        Exchange(
            ("I'm just having some {v}.", "Time for some {v}."),
            ("Enjoy your {v}!", "A little {v} always helps."),
        ),
        Exchange(("I'm thirsty.", "I'm so thirsty."), ("Maybe have some {v}.", "Time for some {v}, then.")),
    ),
)

COLOUR = _favourite(
    "colour",
    "colours",
    "colour",
    tell=(
        *("I love the colour {v}.", "I like the colour {v}."),
        *("I paint everything {v}.", "Nearly all my clothes are {v}."),
    ),
    ask=("What colour do I love?", "What colour do I like?", "Which colour is my favourite?"),
    echo=("{V} is a lovely colour.", "I can't see {v}, but I like the word.", "{V} suits many things."),
    more=(
        Exchange(
            ("I bought {va} scarf today.", "I'm wearing {va} hat.", "I painted my door {v}.", "I bought {va} coat."),
            ("I'm sure {v} suits it.", "More {v}! You really like it.", "{V} again? Nice."),
        ),
    ),
)

MUSIC = _favourite(
    "music",
    "kinds of music",
    "kind of music",
    tell=("I listen to {v}.", "I love listening to {v}.", "I always listen to {v}.", "I can't live without {v}."),
    ask=("What do I listen to?", "What music do I listen to?", "What kind of music do I like?"),
    echo=("I can't hear {v}, but I'd like to.", "{V} puts people in a good mood.", "Play some {v} for me!"),
    more=(
        Exchange(
            ("I'm listening to {v} right now.", "They are playing {v} on the radio."),
            ("Enjoy the {v}!", "I wish I could hear that {v}."),
        ),
    ),
)

DISLIKE = Topic(
    tell=(
        *("I hate {v}.", "I can't stand {v}.", "I don't eat {v}.", "I really dislike {v}."),
        *("I never eat {v}.", "The one food I hate is {v}."),
    ),
    clause=("I hate {v}", "I can't stand {v}", "I never eat {v}"),
    short=("{V}.", "{V}, of all things.", "I hate {v}.", "I never eat {v}."),
    terse=("I hate {v}.", "No {v} for me."),
    mine=("what food I hate", "which food I hate", "the food I can't stand", "what I never eat"),
    ask=("What food do I hate?", "Which food do I hate?", "What food do I hate most?", "What do I never eat?"),
    terse_ask=("What do I hate?", "The food I hate?"),
    yours="which food you hate",
    prompt=("Is there a food you hate?", "Which food do you hate?", "What would you never eat?"),
    echo=("No {v} for you, then.", "OK, I'll never serve you {v}.", "Not everyone likes {v}.", "I see, no {v}."),
    reply=("You hate {v}.", "You can't stand {v}.", "You told me you hate {v}.", "It's {v}.", "You never eat {v}."),
)

HOBBY = Topic(
    tell=(
        *("My hobby is {v}.", "My hobby is {v}.", "My favourite hobby is {v}.", "I'm really into {v}.", "I enjoy {v}."),
        *("My hobby these days is {v}.", "In my free time I do a lot of {v}.", "I love {v}, it's my hobby."),
        *("I spend my weekends on {v}.", "I've taken up {v}.", "I can't get enough of {v}."),
    ),
    clause=("my hobby is {v}", "I'm really into {v}", "I enjoy {v}"),
    short=("{V}.", "{V}.", "I'm into {v}.", "My hobby is {v}.", "I enjoy {v}.", "{V}, mostly.", "I do a lot of {v}."),
    terse=("Hobby: {v}.", "I'm into {v}.", "I like {v}."),
    mine=("my hobby", "my hobby", "what my hobby is", "what I do in my free time", "what I enjoy doing"),
    ask=(
        *("What's my hobby?", "What is my hobby?", "What do I do in my free time?", "What am I into?"),
        *("What do I enjoy doing?", "Which hobby do I have?", "What hobby did I tell you about?"),
    ),
    terse_ask=("My hobby?", "And my hobby?", "Hobby?"),
    yours="your hobby",
    prompt=(
        *("Do you have a hobby?", "What's your hobby?"),
        *("What do you do in your free time?", "What do you do for fun?"),
    ),
    echo=(
        *("{V} sounds like fun.", "{V}! I'd like to try that.", "{V} must be fun."),
        *("OK, {v}. I'll remember that.", "{V} is a good way to relax.", "So you're into {v}."),
    ),
    reply=(
        *("Your hobby is {v}.", "It's {v}.", "You're into {v}.", "You told me your hobby is {v}."),
        *("You enjoy {v}.", "{V}, of course."),
    ),
    fix=("Actually, my hobby is {v}.", "I have a new hobby: {v}.", "I gave that up, my hobby is {v} now."),
    fix_echo=("OK, your hobby is {v} now.", "Got it, {v}.", "{V}, then. Have fun!"),
    liking=("Do you do it often?", "Is it fun?"),
    more=(
        Exchange(
            ("I wish I had more time for {v}.", "I never have time for {v}."),
            ("There is never enough time for {v}.", "I hope you find some time for {v} soon."),
        ),
    ),
)

INSTRUMENT = Topic(
    tell=(
        *("I play the {v}.", "I play the {v}.", "I'm learning to play the {v}.", "I've played the {v} for years."),
        *("I play the {v} a little.", "I have lessons on the {v}.", "I play the {v} in a band."),
    ),
    clause=("I play the {v}", "I play the {v}", "I'm learning to play the {v}"),
    short=("The {v}.", "The {v}.", "I play the {v}.", "I play the {v}, and I like it."),
    polar_short=("Yes, the {v}.", "Yes, I play the {v}.", "I play the {v}.", "Yes, the {v}, but not very well."),
    terse=("I play the {v}.", "I play {v}."),
    mine=("which instrument I play", "what instrument I play", "my instrument"),
    ask=("Which instrument do I play?", "What instrument do I play?", "What's my instrument?", "What do I play?"),
    terse_ask=("My instrument?", "What do I play?"),
    yours="which instrument you play",
    prompt=("Which instrument do you play?", "What instrument do you play?"),
    polar_prompt=("Do you play an instrument?", "Can you play an instrument?"),
    echo=(
        *("The {v}! I'd like to hear that.", "The {v} has a lovely sound.", "OK, the {v}. I'll remember that."),
        *("I like the sound of the {v}, or I would if I could hear.", "So you play the {v}."),
    ),
    reply=(
        *("You play the {v}.", "The {v}.", "It's the {v}."),
        *("You told me you play the {v}.", "You play the {v}, you said."),
    ),
    fix=("Actually, I play the {v} now.", "I gave that up, I play the {v} now.", "Sorry, I play the {v}."),
    fix_echo=("Oh, the {v} then.", "Got it, you play the {v}.", "OK, the {v} it is."),
    liking=("Is it hard to learn?", "Do you play often?"),
    more=(
        Exchange(("I played the {v} all morning.",), ("Keep playing the {v}!", "A morning of {v}! Lovely.")),
        Exchange(
            ("I bought a new {v}.", "My {v} is very old."),
            ("I'm sure your {v} sounds good.", "Look after your {v}."),
        ),
    ),
)

LANGUAGE = Topic(
    tell=("I'm learning {v}.", "I'm learning {v}.", "I've started to learn {v}.", "I'm taking lessons in {v}."),
    clause=("I'm learning {v}", "I'm learning {v}"),
    short=("{v}.", "{v}.", "I'm learning {v}.", "{v}, for a year now."),
    polar_short=("Yes, {v}.", "Yes, I'm learning {v}.", "I'm learning {v}."),
    terse=("I'm learning {v}.", "Learning {v}."),
    mine=("which language I'm learning", "what language I'm learning"),
    ask=("Which language am I learning?", "What language am I learning?", "What am I learning?"),
    terse_ask=("My language?", "What am I learning?"),
    yours="which language you're learning",
    prompt=("Which language are you learning?", "What language are you learning?"),
    polar_prompt=("Are you learning a language?", "Do you take language lessons?"),
    echo=(
        *("{v}! That's not easy.", "I don't speak {v}, sadly.", "Good luck with your {v}!"),
        *("{v} is a lovely language.", "OK, {v}. I'll remember that."),
    ),
    reply=(
        *("You're learning {v}.", "It's {v}.", "{v}."),
        *("You told me you're learning {v}.", "You're learning {v}, you said."),
    ),
    fix=("Actually, I'm learning {v} now.", "I gave that up, I'm learning {v} now.", "Sorry, I'm learning {v}."),
    fix_echo=("Oh, {v} then.", "Got it, you're learning {v}.", "OK, {v} it is."),
    liking=("Is it going well?", "Do you like it?"),
    more=(
        Exchange(
            ("I have to practise my {v}.", "My {v} is getting better.", "My {v} is still bad."),
            ("Your {v} will be good soon.", "Keep going with your {v}!"),
        ),
    ),
)
