"""What users tell about those around them and about their days: pets, family, plans."""

from understudy.tasks.smalltalk.phrases.topic import Exchange, Lines, Topic

PET = Topic(
    tell=(
        *("I have {aa} called {v}.", "I have {aa} called {v}.", "I have {aa} named {v}.", "I've got {aa} called {v}."),
        *("My {a} is called {v}.", "My {a}'s name is {v}.", "{v} is my {a}.", "I live with my {a} {v}."),
        *("I own {aa} named {v}.", "I share my home with {aa} called {v}.", "We have {aa} called {v}."),
        *("I just got {aa}, it's called {v}.", "I adopted {aa} called {v}."),
        *("I've got {aa}, {v}.", "My {a} is named {v}."),
        *("There is {aa} in my house, it's called {v}.", "My {a} {v} is sitting next to me."),
    ),
    clause=(
        *("I have {aa} called {v}", "I have {aa} named {v}", "I've got {aa} called {v}", "my {a} is called {v}"),
        *("my {a}'s name is {v}", "I live with my {a} {v}"),
    ),
    short=(
        *("{v}.", "{v}.", "It's {v}.", "It's called {v}.", "My {a} is called {v}."),
        *("{v}, like my old {a}.", "The name is {v}."),
    ),
    terse=("{A} called {v}.", "I have {aa}, {v}.", "My {a}: {v}.", "Got {aa} named {v}."),
    mine=("my {a}'s name", "my {a}'s name", "what my {a} is called", "the name of my {a}", "how my {a} is called"),
    ask=(
        *("What's my {a}'s name?", "What's my {a} called?", "What is my {a} called?", "What is my {a}'s name?"),
        *("What's the name of my {a}?", "How is my {a} called?"),
        *("What name does my {a} have?", "What's my {a} called?"),
        *("What do I call my {a}?", "What was my {a}'s name again?", "What did I say my {a} was called?"),
    ),
    terse_ask=("My {a}'s name?", "My {a}?", "And my {a}?", "Name of my {a}?"),
    yours="your {a}'s name",
    prompt=(
        *("What's your {a}'s name?", "What is your {a} called?"),
        *("What's the name of your {a}?", "What do you call it?"),
    ),
    echo=(
        *("{v} is a lovely name for {aa}.", "Say hello to {v} from me!"),
        *("{v} sounds like a good {a}.", "Hello to {v}!"),
        *("{v}! I like that name.", "I'd like to meet {v}.", "I'm sure {v} is a lovely {a}.", "{v}, what a nice name."),
        *("OK, your {a} is called {v}.", "I hope {v} is well.", "{v} is lucky to live with you."),
    ),
    reply=(
        *("Your {a} is called {v}.", "Your {a}'s name is {v}.", "It's {v}."),
        *("{v}.", "You told me your {a} is called {v}."),
        *("{v}, of course.", "You call your {a} {v}.", "{v} is your {a}'s name."),
    ),
    fix=(
        *("Actually, my {a} is called {v}.", "Sorry, my {a}'s name is {v}.", "We changed my {a}'s name to {v}."),
        *("No, my {a} is called {v}.", "Correction: my {a} is called {v}."),
    ),
    fix_echo=(
        *("OK, your {a} is called {v} then.", "Got it, {v}.", "Then hello to {v}!", "So your {a}'s name is {v}."),
    ),
    when=("Who is {v}?", "Who is {v}?", "Who's {v}?", "What kind of animal is {v}?", "What kind of pet is {v}?"),
    when_reply=("{v} is your {a}.", "{v} is your {a}.", "That's your {a}.", "Your {a}.", "{v} is your {a}, of course."),
    more=(
        Exchange(("{v} is asleep.", "{v} is asleep again."), ("Sleep well, {v}.", "{v} has a good life with you.")),
        Exchange(
            ("{v} is hungry again.", "{v} wants to play."),
            ("Poor {v}!", "Then {v} needs you now.", "Don't let {v} wait."),
        ),
        Exchange(
            ("I took {v} to the vet today.", "{v} is ill."),
            ("I hope {v} is well again soon.", "Poor {v}! Get well soon."),
        ),
        Exchange(("{v} says hello.", "I love {v} so much."), ("Give {v} my love.", "Hello to {v} from me!")),
    ),
)
PET_INTRO_PROMPT: Lines = (
    "Do you have any pets?",
    "Do you have a pet?",
    "Are there any animals in your house?",
    "Any pets?",
)
PET_MORE_PROMPT: Lines = ("Do you have another pet?", "Any other pets?", "Do you have more pets?")
PET_INTRO_SHORT: Lines = (
    *("Yes, {aa} called {v}.", "Yes, I have {aa} called {v}.", "I have {aa}, {v}.", "Yes, my {a} {v}."),
    *("Yes, {aa} named {v}.", "I do, {aa} called {v}."),
)
PET_WITH_AGE: Lines = (
    *("I have {aa0} called {v0}, {v1} {y1} old.", "My {a0} {v0} is {v1}.", "My {a0} {v0} is {v1} {y1} old."),
    *("I have {aa0} called {v0} who is {v1}.", "{v0}, my {a0}, is {v1} {y1} old."),
    *("My {a0} is called {v0} and is {v1}.",),
)
TWO_PETS: Lines = (
    *("I have {aa0} called {v0} and {aa1} called {v1}.", "My {a0} is called {v0} and my {a1} is called {v1}."),
    *("I have two pets: {aa0} called {v0} and {aa1} called {v1}.", "I live with my {a0} {v0} and my {a1} {v1}."),
    *("I've got {aa0} named {v0} and {aa1} named {v1}.", "I have {aa0}, {v0}, and {aa1}, {v1}."),
)
TWO_PETS_ECHO: Lines = (
    *("{v0} and {v1}, what nice names.", "Hello to {v0} and {v1}!", "I'd like to meet {v0} and {v1}."),
    *("{v0} the {a0} and {v1} the {a1}, lovely.", "I hope {v0} and {v1} are friends."),
)
PET_KIND_TELL: Lines = ("I have {aa}.", "I've got {aa}.", "I have {aa} at home.", "I just got {aa}.", "We have {aa}.")
PET_KIND_SHORT: Lines = ("Yes, {aa}.", "Yes, I have {aa}.", "I have {aa}.", "I do, {aa}.", "{Aa}.")
PET_KIND_ECHO: Lines = ("{Aa}, how nice!", "I like {as}.", "{As} are good company.", "{Aa}! Lovely.", "How nice, {aa}.")
PET_KIND_ASK: Lines = (
    *("What pet do I have?", "What kind of pet do I have?", "Which animal do I have?", "What animal do I have?"),
)
PET_KIND_REPLY: Lines = ("You have {aa}.", "You have {aa}, {v}.", "{Aa}.", "You told me you have {aa}.")

PAIR = Topic(
    tell=(
        *("I have two {as}, {v}.", "I have two {as} called {v}.", "My two {as} are called {v}.", "My {as} are {v}."),
        *("I live with my two {as}, {v}.", "I've got two {as}, {v}."),
    ),
    short=("{v}.", "They're called {v}.", "They are {v}."),
    terse=("Two {as}: {v}.", "I have two {as}, {v}."),
    mine=("my {as}' names", "what my {as} are called", "the names of my {as}"),
    ask=("What are my {as} called?", "What are my {as}' names?", "What are the names of my {as}?", "Who are my {as}?"),
    terse_ask=("My {as}?", "My {as}' names?"),
    yours="your {as}' names",
    echo=("Hello to {v}!", "{v}, what lovely names.", "I hope {v} are good friends.", "{v} sound like good company."),
    reply=("Your {as} are called {v}.", "They're called {v}.", "{v}.", "Your {as} are {v}.", "They are {v}, you said."),
    more=(
        Exchange(("{v} are asleep.", "{v} are asleep again."), ("Sleep well, {v}.", "{v} have a good life with you.")),
        Exchange(("{v} say hello.", "I love {v} so much."), ("Give {v} my love.", "Hello to {v} from me!")),
    ),
)

PET_AGE = Topic(
    tell=(
        *("{p} is {v} years old.", "{p} is {v}.", "{p} just turned {v}."),
        *("My {a} is {v} years old.", "{p} is {v} {y} old."),
    ),
    clause=("{p} is {v}", "my {a} is {v}", "{p} is {v} {y} old"),
    short=("{V}.", "{V} {y} old.", "{p} is {v}.", "Just {v}.", "{V} {y}."),
    terse=("{p} is {v}.", "{p}: {v} {y}.", "My {a} is {v}."),
    mine=("{p}'s age", "how old {p} is", "how old my {a} is", "my {a}'s age"),
    ask=("How old is {p}?", "How old is my {a}?", "What's {p}'s age?", "What age is {p}?", "What's my {a}'s age?"),
    terse_ask=("{p}'s age?", "My {a}'s age?", "How old is {p}?"),
    yours="how old your {a} is",
    prompt=("How old is {p}?", "And how old is {p}?", "How old is your {a}?"),
    echo=("{V} is a good age for {aa}.", "{V} {y} old, I see.", "So {p} is {v}.", "{V}! I'm only a few minutes old."),
    reply=("Your {a} is {v}.", "{p} is {v}.", "{p} is {v} {y} old.", "{V} {y} old.", "You told me {p} is {v}."),
    fix=("Actually, {p} is {v}.", "Sorry, {p} is {v}.", "I meant that {p} is {v}.", "No, wait, {p} is {v}."),
    fix_echo=("OK, {p} is {v} then.", "Got it, {v}.", "So {p} is {v} {y} old."),
)

KIN = Topic(
    tell=(
        *("My {a} is called {v}.", "My {a}'s name is {v}.", "My {a} is called {v}."),
        *("{v} is my {a}.", "My {a} is named {v}."),
        *("My {a} {v} is visiting today.", "I had lunch with my {a} {v}.", "My {a} is {v}."),
        *("My {a} {v} called me today.", "I went for a walk with my {a} {v}.", "I have to call my {a} {v}."),
        *("My {a}, {v}, is coming to dinner.", "I just talked to my {a} {v}."),
    ),
    clause=(
        *("my {a} is called {v}", "my {a}'s name is {v}", "my {a} is named {v}", "my {a} is {v}"),
        *("I live near my {a} {v}", "I often see my {a} {v}"),
    ),
    short=("{v}.", "{v}.", "It's {v}.", "My {a} is called {v}.", "The name is {v}.", "My {a}'s name is {v}."),
    terse=("My {a} is {v}.", "{A}: {v}.", "My {a} is called {v}."),
    mine=("my {a}'s name", "my {a}'s name", "what my {a} is called", "the name of my {a}", "who my {a} is"),
    ask=(
        *("What's my {a}'s name?", "What's my {a} called?", "What is my {a}'s name?", "Who is my {a}?"),
        *("What's the name of my {a}?", "How is my {a} called?", "What was my {a}'s name again?"),
        *("What is my {a} called?", "What did I say my {a} was called?"),
    ),
    terse_ask=("My {a}'s name?", "My {a}?", "And my {a}?", "Name of my {a}?"),
    yours="your {a}'s name",
    prompt=("What's your {a}'s name?", "What is your {a} called?", "What's the name of your {a}?"),
    echo=(
        *("Say hello to {v} from me!", "{v} is a nice name.", "I'd like to meet {v}.", "{v}, what a nice name."),
        *("I hope {v} is well.", "OK, your {a} is called {v}.", "Give {v} my best wishes.", "Hello to {v}!"),
    ),
    reply=(
        *("Your {a} is called {v}.", "Your {a}'s name is {v}.", "It's {v}."),
        *("{v}.", "You told me your {a} is called {v}."),
        *("{v}, of course.", "{v} is your {a}'s name."),
    ),
    fix=("Sorry, my {a}'s name is {v}.", "Actually, my {a} is called {v}.", "No, my {a} is called {v}."),
    fix_echo=("OK, your {a} is called {v} then.", "Got it, {v}.", "So your {a}'s name is {v}."),
    when=("Who is {v}?", "Who is {v}?", "Who's {v}?", "Who is {v} to me?", "How do I know {v}?"),
    when_reply=("{v} is your {a}.", "{v} is your {a}.", "That's your {a}.", "Your {a}.", "{v} is your {a}, of course."),
    more=(
        Exchange(("{v} says hello.", "I'm meeting {v} later."), ("Say hello to {v} from me.", "My best to {v}!")),
        Exchange(("I miss {v}.", "{v} is far away."), ("I hope you see {v} soon.", "I'm sure {v} misses you too.")),
        Exchange(
            ("{v} made me laugh today.", "{v} told me a joke."),
            ("{v} sounds like fun.", "It's good to have {v}."),
        ),
        Exchange(("{v} is late again.", "I'm waiting for {v}."), ("I hope {v} comes soon.", "Oh, {v}!")),
        Exchange(("{v} is ill.", "{v} has a cold."), ("I hope {v} is well again soon.", "Poor {v}! Get well soon.")),
    ),
)
TWO_KIN: Lines = (
    *("My {a0} is called {v0} and my {a1} is called {v1}.", "My {a0}'s name is {v0} and my {a1}'s name is {v1}."),
    *("I live with my {a0} {v0} and my {a1} {v1}.", "I often see my {a0} {v0} and my {a1} {v1}."),
)
TWO_AGES: Lines = (
    "{p0} is {v0} and {p1} is {v1}.",
    "{p0} is {v0} years old and {p1} is {v1}.",
    "{p0} is {v0}, {p1} is {v1}.",
)
TWO_AGES_ECHO: Lines = ("{v0} and {v1}, I see.", "So {p0} is {v0} and {p1} is {v1}.", "OK, I'll remember that.")
KIN_KIND_TELL: Lines = (
    *("I had lunch with my {a} today.", "I went for a walk with my {a}."),
    *("My {a} is coming to dinner.", "I have to call my {a}."),
    *("I just talked to my {a}.", "My {a} is visiting today."),
)
KIN_KIND_ECHO: Lines = ("That sounds nice.", "How nice!", "I'm glad to hear it.", "Lovely.")
KIN_INTRO_PROMPT: Lines = (
    *("Do you have a big family?", "Who is in your family?"),
    *("Tell me about your family.", "What about your family?"),
)
KIN_MORE_PROMPT: Lines = ("Who else is in your family?", "And who else is there?", "Anyone else in your family?")
KIN_INTRO_SHORT: Lines = (
    *("I see my {a} {v} a lot.", "Well, there is my {a} {v}.", "I live with my {a} {v}."),
    *("My {a} {v} is here a lot.", "There is my {a}, called {v}."),
)

KIN_AGE = Topic(
    tell=("{p} is {v}.", "My {a} is {v} years old.", "My {a} is {v}.", "{p} just turned {v}.", "{p} is {v} years old."),
    clause=("my {a} is {v}", "{p} is {v}", "my {a} is {v} years old"),
    short=("{V}.", "{V} years old.", "My {a} is {v}.", "Just {v}."),
    terse=("My {a} is {v}.", "{p} is {v}."),
    mine=("my {a}'s age", "how old my {a} is"),
    ask=("How old is my {a}?", "What's my {a}'s age?", "What age is my {a}?", "How old did I say my {a} is?"),
    terse_ask=("My {a}'s age?", "How old is my {a}?"),
    yours="how old your {a} is",
    prompt=("How old is your {a}?", "And how old is {p}?", "How old is {p}?"),
    echo=("{V}, I see.", "So {p} is {v}.", "{V} is a good age.", "OK, your {a} is {v}."),
    reply=("Your {a} is {v}.", "Your {a} is {v} years old.", "{V} years old.", "You told me your {a} is {v}."),
    fix=("Actually, my {a} is {v}.", "Sorry, my {a} is {v}.", "No, wait, my {a} is {v}."),
    fix_echo=("OK, your {a} is {v} then.", "Got it, {v}.", "So your {a} is {v} years old."),
)

PLAN = Topic(
    tell=(
        *("I'm {v} {a}.", "I'm {v} {a}.", "{A} I'm {v}.", "{A} I'll be {v}."),
        *("I'll be {v} {a}.", "I'm going to be {v} {a}."),
        *("My plan for {d} is {v}.", "{A} I'm busy {v}.", "My plans for {d}? I'm {v}.", "I can't wait, {a} I'm {v}."),
    ),
    clause=("I'm {v} {a}", "{a} I'm {v}", "I'll be {v} {a}"),
    short=("I'm {v}.", "I'll be {v}.", "{V}.", "I'm {v}, I think.", "Probably {v}."),
    terse=("{A}: {v}.", "{A} I'm {v}.", "{V} {a}."),
    mine=("what I'm doing {a}", "my plan for {d}", "what my plan for {d} is", "my plans for {d}"),
    ask=(
        *("What am I doing {a}?", "What am I doing {a}?", "What are my plans for {d}?", "What's my plan for {d}?"),
        *("What will I be doing {a}?", "What did I say I'm doing {a}?", "What am I up to {a}?"),
    ),
    polar=("Do I have plans for {d}?", "Am I busy {a}?", "Do I have anything to do {a}?"),
    terse_ask=("My plan for {d}?", "{A}?", "My plans for {d}?"),
    yours="what you're doing {a}",
    prompt=("What are you doing {a}?", "Do you have plans for {d}?", "What are your plans for {d}?"),
    echo=(
        *("I hope {v} goes well.", "{V}? I hope it goes well.", "OK, {v} {a}. I'll remember that."),
        *("So {a} you're {v}.", "{V}, I see. I'll remember that.", "I hope the weather is good {a}."),
    ),
    reply=(
        *("You're {v} {a}.", "{A} you're {v}.", "You'll be {v}."),
        *("You told me you're {v}.", "You're {v} {a}, you said."),
    ),
    fix=(
        *("Change of plan: {a} I'm {v}.", "Actually, I'm {v} {a}."),
        *("My plan for {d} changed, I'm {v}.", "Sorry, {a} I'm {v}."),
    ),
    fix_echo=("OK, {v} then.", "Got it, you're {v} {a}.", "{V}, then. I'll remember that.", "So {a} you're {v}."),
    when=("When am I {v}?", "When am I {v}?", "Which day am I {v}?", "When will I be {v}?", "When did I say I'm {v}?"),
    when_reply=("{A}.", "You're {v} {a}.", "{A}, you said.", "You told me you're {v} {a}.", "You're {v} {a}."),
)
