"""How users ask for what they told, for sums and for what nobody can know; how it is answered or refused."""

from understudy.tasks.smalltalk.phrases.topic import Lines

# Wrappings of a topic's `mine`, by what a short answer to them begins with.
WRAPPED: dict[str, Lines] = {
    "yes": (
        *("Do you remember {mine}?", "Do you remember {mine}?", "Do you know {mine}?", "Do you still know {mine}?"),
        *("Can you tell me {mine}?", "Could you tell me {mine}?", "Can you remember {mine}?"),
        *("Do you still remember {mine}?", "I wonder if you remember {mine}.", "I hope you remember {mine}."),
        *("Did you remember {mine}?", "Can you still tell me {mine}?"),
    ),
    "no": (
        "Have you forgotten {mine}?",
        "Did you forget {mine}?",
        "I bet you forgot {mine}.",
        "You forgot {mine}, right?",
    ),
    "": (
        "Tell me {mine}.",
        "Tell me {mine}, please.",
        "Please tell me {mine}.",
        "Let's see if you can tell me {mine}.",
    ),
}
WRAPPED_FORMAL: dict[str, Lines] = {
    "yes": (
        *("Could you please tell me {mine}?", "Can I ask if you remember {mine}?", "Would you tell me {mine}, please?"),
        *("Would you kindly tell me {mine}?", "Are you able to tell me {mine}?", "Do you happen to remember {mine}?"),
    ),
    "no": ("Have you perhaps forgotten {mine}?",),
    "": ("Please tell me {mine}.", "I would like to know {mine}.", "Kindly tell me {mine}."),
}
WRAPPED_TWO: Lines = ("Do you remember {} and {}?", "Tell me {} and {}.", "Can you tell me {} and {}?")
OPENERS: dict[str, Lines] = {
    "yes": ("Yes, ", "Yes, ", "Of course: ", "Yes: ", "Sure, "),
    "no": ("No, ", "Not at all, ", "No, no: "),
}

REFUSALS: Lines = (
    *("You haven't told me {yours} yet.", "You haven't told me {yours}.", "I don't know {yours} yet."),
    *("You haven't told me that yet.", "I don't know {yours}.", "You haven't told me {yours}, so I can't know."),
    *("I don't know, you haven't told me {yours} yet.", "I can't know that: you haven't told me."),
)
WHO_ASKS: Lines = ("Who is {v}?", "Who's {v}?", "Do you know {v}?", "Do you know who {v} is?")
WHO_REFUSALS: Lines = (
    *("I don't know who {v} is.", "You haven't told me about {v}."),
    *("I don't know anybody called {v}.", "You haven't told me who {v} is."),
)
REFUSALS_ASKING: Lines = ("You haven't told me {yours} yet. {prompt}", "I don't know {yours} yet. {prompt}")

# Kinds of thing that a language model without senses or a library cannot know: (questions, refusals)
IMPOSSIBLE: tuple[tuple[Lines, Lines], ...] = (
    (
        (
            *("What's the weather like?", "How is the weather?", "Is it raining?"),
            *("Will it rain today?", "Is it cold outside?"),
            *("What's the weather like today?", "What will the weather be tomorrow?"),
            *("Is the sun shining?", "Is it snowing?"),
        ),
        (
            *("I can't see the weather from here.", "I can't see outside, sorry."),
            *("I don't know, I can't see the sky from here.", "I can't know the weather. Look out of the window!"),
        ),
    ),
    (
        (
            *("What time is it?", "What's the time?", "How late is it?", "What time is it now?"),
            *("Is it late already?", "Do you know what time it is?"),
        ),
        ("I don't know, I can't see a clock.", "I can't see a clock from here."),
    ),
    (
        ("What day is it today?", "What's the date today?", "Which year is it?", "What day is it?"),
        ("I don't know, I have no calendar.", "I can't see a calendar from here."),
    ),
    (
        (
            *("What am I wearing?", "What do I look like?", "How many fingers am I holding up?", "Can you see me?"),
            *("What am I holding in my hand?", "What's behind me?", "What colour are my eyes?", "Am I smiling?"),
        ),
        (
            *("I can't see you.", "I don't know, I can't see you."),
            *("I can't see that from here.", "I can't see anything, sorry."),
        ),
    ),
    (
        ("Can you hear me?", "Can you hear that?", "What's that noise?", "Do you hear the rain?"),
        ("I can't hear, I only read.", "I can't hear anything, I only read what you write."),
    ),
    (
        (
            *("Where are my keys?", "Where did I put my glasses?", "Where is my phone?", "Where did I leave my bag?"),
            *("Have you seen my wallet?", "Where is my umbrella?"),
        ),
        (
            "I don't know, I can't see your things.",
            "I can't know that from here.",
            "I don't know, I can't see your room.",
        ),
    ),
    (
        ("What am I thinking?", "What am I thinking of?", "Guess what I'm thinking.", "Can you read my mind?"),
        ("I can't read minds.", "I can't know what you think.", "I don't know, I can't read your mind."),
    ),
    (
        ("What did I dream last night?", "Where was I yesterday?", "What did I buy last week?", "Who wrote to me?"),
        (
            *("I can't know that, you haven't told me.", "I don't know, you haven't told me that."),
            *("You haven't told me that yet.",),
        ),
    ),
    (
        ("Who will win the match?", "What are the lottery numbers?", "Will I be rich?", "What will happen next year?"),
        ("I can't know the future.", "I don't know what will happen.", "I can't tell the future, sorry."),
    ),
    (
        (
            *("What's the capital of {country}?", "How many people live in {country}?"),
            *("Who is the president of {country}?", "How far is the moon?", "Who invented the telephone?"),
            *("What's in the news?", "Who painted this picture?", "How high is the highest mountain?"),
            *("Who won the world cup?", "Can you translate this?", "How do you make cheese?"),
            *("What does this word mean?", "How long is the longest river?"),
            *("Where is {country}?", "What's the price of gold?"),
        ),
        (
            *("I don't know that.", "I never learned that, sorry."),
            *("I don't know, I only know what you tell me.", "That I don't know."),
        ),
    ),
)

SUM_ASKS: Lines = (
    *("What's {x} plus {z}?", "What is {x} plus {z}?", "What is {x} + {z}?"),
    *("What's {x} + {z}?", "How much is {x} plus {z}?"),
    *("How much is {x} + {z}?", "Can you add {x} and {z}?", "{x} + {z}?"),
    *("What do {x} and {z} make?", "Add {x} and {z}."),
    *("Can you tell me what {x} plus {z} is?", "Do you know what {x} plus {z} is?"),
)
SUM_REPLIES: Lines = (
    *("{x} plus {z} is {w}.", "{x} plus {z} is {w}.", "{x} + {z} = {w}.", "That's {w}."),
    *("It's {w}.", "That makes {w}."),
)

COMPARE_PETS = {
    "older": (
        *("Which of my pets is older?", "Which of my pets is the older?"),
        *("Who is older, {p} or {q}?", "Is {p} or {q} older?"),
        *("Which pet is older?", "Which of my two pets is older?", "Which of them is older, {p} or {q}?"),
    ),
    "younger": (
        *("Which of my pets is younger?", "Which of my pets is the younger?", "Who is younger, {p} or {q}?"),
        *("Which pet is younger?", "Which of my two pets is younger?", "Is {p} or {q} younger?"),
    ),
}
COMPARE_PETS_REPLIES: Lines = ("{w} is {more}.", "{w} is {more}.", "{w} is the {more} one.", "It's {w}.", "{w}.")
COMPARE_KIN = {
    "older": ("Who is older, my {a} or my {b}?", "Is my {a} or my {b} older?", "Which is older, my {a} or my {b}?"),
    "younger": (
        "Who is younger, my {a} or my {b}?",
        "Is my {a} or my {b} younger?",
        "Which is younger, my {a} or my {b}?",
    ),
}
COMPARE_KIN_REPLIES: Lines = ("Your {w} is {more}.", "Your {w} is {more}.", "Your {w}.", "It's your {w}.")

COUNT_PETS: Lines = (
    *("How many pets do I have?", "How many pets do I have?", "How many animals do I have?"),
    *("How many pets have I got?", "Can you count my pets?", "Count my pets.", "Do you know how many pets I have?"),
    *("How many pets did I tell you about?", "How many animals live with me?"),
)
COUNT_PETS_REPLIES: Lines = ("You have {w}.", "You have {w} {pets}.", "You told me about {w}.", "{W}.", "{W}, I think.")
COUNT_PETS_LISTING: Lines = ("You have {w}: {list}.", "{W}: {list}.", "You have {list}, that makes {w}.")

TOLD_SUM_ASKS: Lines = (
    *("How old are {p} and {q} together?", "What do you get if you add the ages of {p} and {q}?"),
    *("What's the sum of the ages of my pets?", "How old are my two pets together?", "Add the ages of {p} and {q}."),
)
TOLD_SUM_REPLIES: Lines = (
    "{x} plus {z} is {w}.",
    "Together they are {w}.",
    "{x} plus {z} makes {w}.",
    "That makes {w}.",
)
LATER_ASKS = {
    1: ("How old will {p} be next year?", "How old will {p} be in a year?"),
    2: ("How old will {p} be in two years?", "What will {p}'s age be in two years?"),
}
LATER_REPLIES: Lines = ("{p} will be {w}.", "{p} will be {w} then.", "{W} years old.", "Then {p} will be {w}.")

SUMMARY_ASKS: Lines = (
    *("What do you know about me?", "What have I told you about me?"),
    *("Tell me what you know about me.", "What did I tell you?"),
    *("What do you remember about me?", "Can you say what you know about me?"),
)
