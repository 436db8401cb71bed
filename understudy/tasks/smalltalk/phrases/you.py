"""What users tell about themselves: name, home, age, work, birthday."""

from understudy.tasks.smalltalk.phrases.topic import Exchange, Lines, Topic

NAME = Topic(
    tell=(
        *("My name is {v}.", "My name is {v}.", "I'm {v}.", "I'm {v}.", "I am {v}.", "My name's {v}.", "Call me {v}."),
        *("You can call me {v}.", "People call me {v}.", "They call me {v}.", "The name is {v}.", "This is {v}."),
        *("{v} here.", "I'm called {v}.", "My friends call me {v}.", "I go by {v}.", "Everyone calls me {v}."),
        *("Please call me {v}.", "Just call me {v}.", "{v} is my name.", "My first name is {v}.", "I am called {v}."),
        *("I'm {v}, nice to meet you.", "My name is {v}, nice to meet you.", "I'm {v}, by the way."),
        *("My name is {v}, please remember it.", "Remember my name: {v}.", "Let me introduce myself: I'm {v}."),
    ),
    tell_asking=(
        *("I'm {v}. Who are you?", "My name is {v}. What's your name?"),
        *("I'm {v}, and you?", "My name is {v}, and yours?"),
        *("I'm {v}, who are you?", "My name's {v}, what's yours?", "Call me {v}. What should I call you?"),
    ),
    echo_answering=(
        *("Nice to meet you, {v}. I'm understudy.", "Hello {v}, I'm understudy.", "Hi {v}! My name is understudy."),
        *("Good to meet you, {v}. My name is understudy.", "{v}, nice to meet you. I'm called understudy."),
    ),
    clause=("I'm {v}", "I'm {v}", "my name is {v}", "my name is {v}", "I'm called {v}", "I am {v}", "my name's {v}"),
    short=(
        *("{v}.", "{v}.", "{v}.", "It's {v}.", "I'm {v}.", "My name is {v}.", "Call me {v}.", "{v}, nice to meet you."),
        *("Just {v}.", "You can call me {v}.", "{v} is fine.", "They call me {v}.", "It is {v}.", "I am {v}."),
        *("My name's {v}.", "{v} please.", "My friends call me {v}.", "{v} will do."),
    ),
    terse=("{v}.", "Name's {v}.", "{v} here.", "Name: {v}.", "I'm {v}.", "Call me {v}."),
    mine=("my name", "my name", "my name", "what I'm called", "who I am", "what my name is"),
    ask=(
        *("What's my name?", "What's my name?", "What is my name?", "What is my name?"),
        *("Who am I?", "What am I called?"),
        *("What did I say my name was?", "What was my name again?", "What do people call me?"),
        *("What's my name again?", "What name did I give you?", "How am I called?", "What was my name?"),
        *("Who are you talking to?", "What should you call me?", "Which name did I tell you?"),
    ),
    terse_ask=("My name?", "Name?", "Who am I?", "And my name?", "My name again?", "Name again?"),
    yours="your name",
    prompt=(
        *("What's your name?", "What should I call you?", "What is your name?", "Who am I talking to?"),
        *("May I ask your name?", "What do people call you?", "And you are?", "What can I call you?"),
    ),
    echo=(
        *("Nice to meet you, {v}!", "Hello, {v}!", "Hi {v}, good to meet you.", "It's nice to meet you, {v}."),
        *("Welcome, {v}!", "Good to meet you, {v}!", "Pleased to meet you, {v}.", "{v} is a nice name."),
        *("Thank you, {v}. I'll remember that.", "Hello {v}, what a nice name.", "{v}, I like that name."),
        *("Great to meet you, {v}!", "OK, {v}, I'll remember your name.", "A pleasure, {v}.", "Hi {v}!"),
        *("I'll call you {v}, then.", "Nice to meet you, {v}."),
    ),
    reply=(
        *("Your name is {v}.", "You're {v}.", "You are {v}.", "You told me your name is {v}.", "You're called {v}."),
        *("It's {v}.", "{v}, of course.", "{v}!", "You said your name is {v}.", "That's easy: you're {v}."),
    ),
    fix=(
        *("Actually, my name is {v}.", "Sorry, my name is {v}.", "Actually, call me {v}.", "Wait, my name is {v}."),
        *("I made a mistake, my name is {v}.", "Please call me {v} from now on.", "I'd rather be called {v}."),
        *("Correction: my name is {v}.", "I changed my name to {v}."),
        *("No, my real name is {v}.", "My real name is {v}."),
        *("That was a joke, I'm {v}.", "I meant {v}, that's my name.", "Actually I'm {v}, I was joking before."),
    ),
    fix_echo=(
        *("All right, {v} it is.", "Got it, {v}.", "Thanks, I'll call you {v}.", "OK, {v} from now on."),
        *("I see, so your name is {v}.", "No problem, {v}.", "Then I'll remember {v}.", "Understood, {v}."),
    ),
)

NAME_AND_HOME: Lines = (
    *("I'm {v0} from {v1}.", "My name is {v0} and I live in {v1}."),
    *("I'm {v0} and I live in {v1}.", "{v0} from {v1} here."),
    *("My name is {v0} and I'm from {v1}.", "I'm {v0}, I live in {v1}.", "My name is {v0}. I live in {v1}."),
)

HOME = Topic(
    tell=(
        *("I live in {v}.", "I live in {v}.", "I live in {v}.", "I'm from {v}.", "I'm from {v}.", "I come from {v}."),
        *("My home is in {v}.", "I live in a town called {v}.", "I'm based in {v}.", "I've lived in {v} for years."),
        *("My town is called {v}.", "My house is in {v}.", "I live in {v} with my family.", "We live in {v}."),
        *("I'm from a place called {v}.", "I have a small flat in {v}.", "I grew up in {v} and still live there."),
        *("I'm at home in {v}.", "I live in {v} these days.", "I'm writing from {v}, where I live."),
    ),
    clause=(
        *("I live in {v}", "I live in {v}", "I'm from {v}", "I come from {v}"),
        *("I'm based in {v}", "my home is in {v}"),
    ),
    short=(
        *("{v}.", "{v}.", "In {v}.", "In {v}.", "I live in {v}.", "I'm from {v}.", "I live in a town called {v}."),
        *("A place called {v}.", "In {v}, have you heard of it?"),
        *("My home is in {v}.", "{v}, all my life."),
    ),
    terse=("I live in {v}.", "From {v}.", "Living in {v}.", "Home is {v}.", "Based in {v}."),
    mine=("where I live", "where I live", "where I'm from", "my town", "which town I live in", "where my home is"),
    ask=(
        *("Where do I live?", "Where do I live?", "Where do I live?", "Where am I from?", "Which town do I live in?"),
        *("What town do I live in?", "What city do I live in?", "Where is my home?", "Where did I say I live?"),
        *("What's the name of my town?", "Where do I come from?", "Where's my home?", "In which town do I live?"),
        *("What is my town called?", "Where is my house?", "What place do I live in?", "Where do I live again?"),
    ),
    terse_ask=("My town?", "Where do I live?", "My home?", "And where do I live?", "Where from?"),
    yours="where you live",
    prompt=(
        *("Where do you live?", "Which town do you live in?", "And where is your home?", "What town are you in?"),
        *("Where do you live at the moment?", "Whereabouts do you live?"),
    ),
    echo=(
        *("{v} sounds like a nice place.", "I've never been to {v}.", "{v}, how nice.", "I'd like to see {v} one day."),
        *("So you live in {v}, lovely.", "I hope the weather is good in {v}."),
        *("Greetings to {v}!", "{v} is new to me."),
        *("{v}? I'd like to hear more about it.", "OK, {v}. I'll remember that.", "I hope life is good in {v}."),
        *("{v}, that has a nice sound.", "{v} must be a good place to live."),
    ),
    reply=(
        *("You live in {v}.", "You told me you live in {v}.", "Your home is in {v}.", "{v}, of course."),
        *("You said you live in {v}.", "That would be {v}.", "You live in {v}, you said.", "Your town is {v}."),
    ),
    fix=(
        *("I moved to {v}.", "Actually, I live in {v} now.", "I've just moved to {v}.", "We moved to {v} last week."),
        *("Sorry, I live in {v} now.", "Correction: I live in {v}.", "By the way, I moved to {v}."),
        *("I don't live there any more, I live in {v} now.", "Actually, I live in {v}.", "My new home is in {v}."),
        *("We have moved, I live in {v} now.", "I have a new flat in {v} now."),
    ),
    fix_echo=(
        *("Oh, so you live in {v} now.", "Got it, {v} now."),
        *("Thanks, I'll remember {v}.", "Then {v} is your home now."),
        *("I hope you like it in {v}.", "OK, your home is in {v} now.", "{v}, then. Thanks for telling me."),
    ),
    liking=("Do you like it there?", "Is it nice there?", "Are you happy there?"),
    more=(
        Exchange(
            ("It's raining in {v} today.", "The weather in {v} is awful."),
            ("Then stay warm in {v}.", "Poor {v}!"),
        ),
        Exchange(
            ("It's sunny in {v} today.", "{v} is lovely in spring."),
            ("Enjoy {v}!", "I'd like to see {v} in the sun."),
        ),
        Exchange(
            ("It's a quiet day in {v}.", "Nothing ever happens in {v}."),
            ("A quiet {v} sounds nice.", "I like quiet days."),
        ),
    ),
)

AGE = Topic(
    tell=(
        *("I'm {v} years old.", "I am {v} years old.", "I'm {v}.", "I turned {v} this year.", "My age is {v}."),
        *("I just turned {v}.", "I'm already {v}.", "I'm {v} years old now.", "I was {v} on my last birthday."),
    ),
    clause=("I'm {v} years old", "I'm {v}", "I am {v} years old"),
    short=("{v}.", "I'm {v}.", "{v} years old.", "I'm {v} years old.", "I just turned {v}.", "Already {v}!"),
    terse=("Age {v}.", "I'm {v}.", "{v} years old."),
    mine=("my age", "how old I am", "how old I am"),
    ask=(
        *("How old am I?", "How old am I?", "What's my age?", "What is my age?", "How old did I say I am?"),
        *("How many years old am I?", "What age am I?"),
    ),
    terse_ask=("My age?", "How old am I?", "Age?"),
    yours="how old you are",
    prompt=("How old are you?", "May I ask how old you are?", "What's your age?"),
    echo=(
        *("{v} is a good age.", "{v} years old, I see.", "I'm only a few minutes old, so {v} sounds like a lot."),
        *("OK, {v}. I'll remember that.", "So you're {v}.", "{v}! That's older than me."),
    ),
    reply=(
        *("You're {v}.", "You are {v} years old.", "You're {v} years old."),
        *("You told me you're {v}.", "{v} years old."),
    ),
    fix=("Actually, I'm {v}.", "Sorry, I'm {v} years old.", "Wait, I'm {v} now."),
    fix_echo=("OK, {v} then.", "Got it, you're {v}.", "Then I'll remember {v}.", "So you're {v} years old."),
)

JOB = Topic(
    tell=(
        *("I work as {va}.", "I work as {va}.", "I'm {va}.", "I'm {va}.", "I am {va}.", "I'm {va} by trade."),
        *("I earn my living as {va}.", "I work as {va} in town."),
        *("I've been {va} for years.", "I'm {va} for a living."),
        *("I have a job as {va}.", "My work? I'm {va}.", "I've just started as {va}."),
    ),
    clause=("I work as {va}", "I'm {va}", "I'm {va} by trade", "I have a job as {va}", "I am {va}"),
    short=("I'm {va}.", "I work as {va}.", "{Va}.", "I am {va}.", "I'm {va}, and I like it.", "I'm {va} in town."),
    terse=("I'm {va}.", "Job: {v}.", "I work as {va}.", "{Va} by trade."),
    mine=("my job", "my job", "what I do for a living", "what my job is", "what I do for work", "what I work as"),
    ask=(
        *("What's my job?", "What is my job?", "What do I do for a living?", "What do I do for work?"),
        *("What do I work as?", "What's my profession?", "What do I do?", "What did I say I do for work?"),
        *("How do I earn my living?", "What kind of job do I have?", "What work do I do?"),
    ),
    terse_ask=("My job?", "My work?", "And my job?", "What do I do?"),
    yours="what you do for work",
    prompt=(
        *("What do you do for work?", "What do you do for a living?", "What's your job?"),
        *("What kind of work do you do?", "Do you have a job?"),
    ),
    echo=(
        *("{Va}! That must keep you busy.", "{Va}, how interesting.", "The world needs good {vs}."),
        *("So you're {va}.", "I've never talked to {va} before.", "Being {va} sounds like good work."),
        *("{Va}, that sounds like hard work.", "I think I'd like to be {va} too."),
        *("OK, you're {va}. I'll remember that.", "{Va}! Good for you."),
    ),
    reply=(
        *("You work as {va}.", "You're {va}.", "You are {va}.", "You told me you're {va}.", "You're {va}, you said."),
        *("You earn your living as {va}.", "{Va}, of course."),
    ),
    fix=(
        *("I changed jobs, I'm {va} now.", "Actually, I work as {va} now.", "I have a new job: I'm {va} now."),
        *("Sorry, I'm {va} now.", "Correction: I work as {va}.", "Actually, I'm {va}."),
    ),
    fix_echo=(
        *("OK, so you're {va} now.", "Got it, you work as {va}.", "Good luck as {va}!", "{Va}, then. I'll remember."),
    ),
    liking=("Do you like it?", "Do you like your work?", "Do you enjoy it?"),
    more=(
        Exchange(
            (
                *("Work was busy today.", "I had a long day at work."),
                *("I'm just back from work.", "I have to work late today."),
            ),
            (
                *("It's not easy being {va}.", "Even {va} needs some rest."),
                *("Being {va} sounds tiring.", "You must be tired."),
            ),
        ),
        Exchange(
            ("Work was fun today.", "I love my job."),
            ("I'm glad you like being {va}.", "Then being {va} suits you."),
        ),
    ),
)

BIRTHDAY = Topic(
    tell=(
        *("My birthday is in {v}.", "I was born in {v}.", "My birthday is in {v}, so remember it."),
        *("I have my birthday in {v}.", "I always have a party in {v}, for my birthday."),
    ),
    clause=("my birthday is in {v}", "I was born in {v}"),
    short=("In {v}.", "It's in {v}.", "{v}.", "My birthday is in {v}."),
    terse=("Birthday in {v}.", "Born in {v}."),
    mine=("when my birthday is", "the month of my birthday", "when I was born"),
    ask=(
        *("When is my birthday?", "When's my birthday?", "What month is my birthday in?", "In which month was I born?"),
        *("When was I born?", "In which month is my birthday?"),
    ),
    terse_ask=("My birthday?", "When is my birthday?"),
    yours="when your birthday is",
    prompt=("When is your birthday?", "In which month is your birthday?", "When's your birthday?"),
    echo=(
        *("{v} is a good month for a birthday.", "{v}! I hope there will be cake.", "In {v}, I'll remember that."),
        *("I'll think of you in {v}.", "A birthday in {v}, how nice."),
    ),
    reply=("Your birthday is in {v}.", "In {v}.", "It's in {v}.", "You were born in {v}.", "You told me it's in {v}."),
    fix=("Actually, my birthday is in {v}.", "Sorry, I was born in {v}.", "I meant {v}, my birthday is in {v}."),
    fix_echo=("Oh, in {v} then.", "Got it, your birthday is in {v}.", "OK, I'll remember {v}."),
)
