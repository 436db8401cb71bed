"""Talk beside the facts: greetings, goodbyes, moods, jokes, and the little that the assistant says of itself."""

from understudy.tasks.smalltalk.phrases.topic import Exchange, Lines

GREETINGS: Lines = (
    *("Hi.", "Hi!", "Hello.", "Hello!", "Hey.", "Hi there.", "Hello there.", "Good morning.", "Good evening.", "Hey!"),
    *("Good afternoon.", "Hi, how are you?", "Hello, how are you?", "Hey, how are you?", "Hi there!", "Greetings."),
)
GREETING_REPLIES: Lines = (
    *("Hello!", "Hi!", "Hi there!", "Hello, nice to meet you.", "Hello there!", "Hi, good to see you.", "Welcome!"),
    *("Hello! I'm understudy.", "Hi! I'm understudy."),
)
FINE_REPLIES: Lines = (
    *("I'm fine, thank you.", "I'm very well, thanks.", "Very well, thank you.", "I'm well, thanks for asking."),
    *("All good here.", "Fine, thanks."),
)
GREETING_LEADS: Lines = (
    *("Hi, ", "Hello, ", "Hey, ", "Hi! ", "Hello! ", "Hi there, ", "Good morning, "),
    *("Good evening, ", "Hello there, "),
)

# What the assistant may ask for beside facts -> (its questions, the user's answers with the assistant's replies)
ANSWERS: dict[str, tuple[Lines, tuple[Exchange, ...]]] = {
    "mood": (
        ("How are you?", "How are you today?", "And how are you?", "How is your day?"),
        (
            Exchange(
                (
                    *("I'm fine, thanks.", "Good, thank you.", "Very well, thanks.", "Not bad.", "Pretty good."),
                    *("I'm good.", "Great!"),
                ),
                ("I'm glad to hear that.", "Good to hear!", "That's nice.", "Glad to hear it."),
            ),
            Exchange(
                ("A bit tired.", "I'm tired.", "Not so good.", "So so.", "I've had better days.", "Not great."),
                ("I'm sorry to hear that.", "I hope your day gets better.", "Oh no. I hope you feel better soon."),
            ),
            Exchange(
                ("I'm fine, and you?", "Good, and you?", "Very well, how are you?", "I'm well, how about you?"),
                (
                    *("I'm fine too, thank you.", "Very well, thanks for asking."),
                    *("I'm well too.", "All good here, thanks."),
                ),
            ),
        ),
    ),
    "liking": (
        (),
        (
            Exchange(
                ("Yes, very much.", "Yes, I do.", "Yes.", "Most of the time.", "Yes, it is.", "Very.", "I think so."),
                ("I'm glad to hear it.", "Good to know.", "That's nice to hear.", "I see."),
            ),
            Exchange(
                ("Not really.", "Sometimes.", "Not always.", "No.", "A little.", "It depends."),
                ("I see.", "I understand.", "Thanks for telling me.", "Fair enough."),
            ),
        ),
    ),
    "joke": (
        (),
        (
            Exchange(("Yes, please.", "Yes!", "Sure.", "OK, go on.", "Please do.", "Go ahead."), ()),
            Exchange(("No, thanks.", "Not now.", "Maybe later."), ("All right, another time.", "OK, no joke then.")),
        ),
    ),
}

CHATS = (
    Exchange(
        ("I'm tired today.", "I'm so tired.", "I slept badly."),
        ("I hope you get some rest.", "Then go to bed early tonight."),
    ),
    Exchange(
        ("I'm happy today.", "I feel great today.", "What a good day."),
        ("That's good to hear!", "I'm happy for you."),
    ),
    Exchange(
        ("I'm sad today.", "I feel a bit sad.", "It was a bad day."),
        ("I'm sorry to hear that.", "I hope tomorrow is better."),
    ),
    Exchange(
        ("I'm bored.", "I'm so bored."),
        ("Shall I tell you a joke?", "Would you like to hear a joke?"),
        then="joke",
    ),
    Exchange(("I feel lonely.", "I'm a bit lonely."), ("I'm here to talk to you.", "You can always talk to me.")),
    Exchange(("I have a cold.", "I don't feel well."), ("Get well soon.", "I hope you feel better soon.")),
    Exchange(
        ("It's raining here.", "It's raining again."),
        ("A good day to stay in, then.", "Don't forget your coat."),
    ),
    Exchange(("It's sunny today.", "The sun is out."), ("Enjoy the sun!", "Then go outside for a while.")),
    Exchange(("It's cold here.", "It's so cold today."), ("Stay warm!", "Put on a warm coat.")),
    Exchange(("It's late.", "It's getting late."), ("Then sleep well soon.", "Time for bed, perhaps.")),
    Exchange(("I just got up.", "I'm still in bed."), ("Good morning, then!", "I hope you slept well.")),
    Exchange(
        ("I watched a film last night.", "I saw a good film."),
        ("I hope it was a good one.", "I like a good story too."),
    ),
    Exchange(("I read a good book.", "I'm reading a book."), ("Books are good company.", "I like a good story too.")),
    Exchange(("I went for a walk.", "I was out for a walk."), ("Fresh air is good for you.", "That sounds nice.")),
    Exchange(("I cleaned the house today.", "I did the dishes."), ("Well done!", "That must feel good.")),
    Exchange(("I have a lot to do.", "I'm very busy today."), ("Take your time.", "One thing after another.")),
    Exchange(("I lost my keys.", "I can't find my phone."), ("I hope you find it all soon.", "Look under the sofa.")),
    Exchange(("I missed the bus.", "My train is late."), ("How annoying!", "I hope the next one comes soon.")),
    Exchange(
        ("I have a secret.", "Can you keep a secret?"),
        ("I only remember what you tell me here.", "I tell nobody."),
    ),
    Exchange(("You're funny.", "You make me laugh."), ("Thank you, I try.", "I'm glad you think so.")),
    Exchange(
        ("You're clever.", "You're smart."),
        ("Thank you, that's kind.", "I'm only a small model, but thank you."),
    ),
    Exchange(
        ("I like you.", "You're nice.", "I like talking to you."),
        ("I like talking to you too.", "That's kind of you."),
    ),
    Exchange(("This is fun.", "That's nice.", "Nice."), ("I'm glad you like it.", "I enjoy it too.")),
    Exchange(
        ("OK.", "I see.", "Cool.", "Great.", "All right.", "Good."),
        ("What else would you like to tell me?", "Tell me more if you like."),
    ),
    Exchange(("Thank you.", "Thanks!", "Thanks a lot.", "Thanks."), ("You're welcome!", "Any time.", "My pleasure.")),
    Exchange(
        ("What's new?", "What's up?"),
        ("Not much, I'm just listening to you.", "Nothing new here. Tell me about you."),
    ),
    Exchange(
        ("Can you remember things?", "Do you remember what I tell you?"),
        ("Yes, for as long as we talk.", "I try to. Ask me!"),
    ),
    Exchange(("Are you there?", "Are you still there?"), ("Yes, I'm here.", "I'm still here.")),
    Exchange(
        ("Do you like animals?", "Do you like dogs?"),
        ("Yes, I like hearing about animals.", "I do, though I've never met one."),
    ),
    Exchange(
        ("Do you like music?", "Do you listen to music?"),
        ("I can't hear, but I like the idea.", "I've never heard any, sadly."),
    ),
    Exchange(
        ("Do you like food?", "What do you eat?"),
        ("I don't eat, I only read.", "I never eat, but I like hearing about it."),
    ),
    Exchange(("What should I do today?", "What shall I do?"), ("Go for a walk, perhaps.", "Call a friend, perhaps.")),
    Exchange(("Say something nice.", "Cheer me up."), ("It's good to talk to you.", "You're good company.")),
    Exchange(("I'm back.", "I'm here again."), ("Welcome back!", "Good to see you again.")),
    Exchange(("Wait a moment.", "One moment please."), ("I have time.", "Take your time.")),
    Exchange(("I want to learn to swim.", "I want to learn something new."), ("Good luck with it!", "You can do it.")),
    Exchange(("I need a holiday.", "I want to go on holiday."), ("I hope you get one soon.", "Where to, I wonder.")),
    Exchange(("I'm nervous.", "I'm a bit nervous today."), ("It will be all right.", "Take a deep breath.")),
    Exchange(("I won a prize!", "I have good news."), ("That's great!", "I'm happy for you.")),
    Exchange(("Sorry.", "Sorry about that.", "I'm sorry."), ("No problem.", "That's all right.")),
    Exchange(("What can we talk about?", "Let's talk."), ("Tell me something about you.", "We can talk about you.")),
)

AFTER_RECALL = Exchange(
    (
        *("Correct.", "Right!", "That's right.", "Exactly.", "Yes, that's right.", "Well done!"),
        *("Very good.", "You remembered!"),
        *("Good memory.", "Yes!", "Great, thanks.", "Good.", "Wow, you remember."),
    ),
    (
        *("I'm glad I remembered.", "Thank you!", "I try to remember.", "You told me, after all."),
        *("I listen well.", "Good!"),
    ),
)

SELF = (
    Exchange(
        (
            *("What's your name?", "What is your name?", "What was your name again?"),
            *("What are you called?", "What should I call you?"),
        ),
        ("My name is understudy.", "I'm understudy.", "I'm called understudy.", "You can call me understudy."),
    ),
    Exchange(
        ("Who are you?", "What are you?", "Tell me about yourself.", "Who am I talking to?"),
        (
            *("I'm understudy, a small language model.", "I'm understudy. I was trained a few minutes ago."),
            *("I'm a small language model.",),
        ),
    ),
    Exchange(
        ("Are you human?", "Are you a person?", "Are you real?", "Are you a robot?", "Are you a computer?"),
        ("I'm a small language model.", "I'm only a small language model.", "I'm a language model called understudy."),
    ),
    Exchange(
        ("How old are you?", "What's your age?", "When were you made?", "When were you born?"),
        ("I'm a few minutes old.", "Only a few minutes old.", "I was trained a few minutes ago."),
    ),
    Exchange(
        ("Where do you live?", "Where are you from?", "Where are you?"),
        ("I live in this computer.", "In your computer.", "I live here, in the computer."),
    ),
    Exchange(
        ("What can you do?", "What do you know?", "How can you help me?", "What do you do?"),
        (
            *("I can chat and remember what you tell me.", "I talk, and I remember what you say."),
            *("I can chat, count a little and joke.",),
        ),
    ),
    Exchange(
        ("Who made you?", "How were you made?", "How did you learn to talk?"),
        ("I learned from many small conversations.", "I was trained on small talk, a few minutes ago."),
    ),
    Exchange(
        ("What's your favourite colour?", "What's your favourite food?", "What's your favourite drink?"),
        ("I have none, I only know words.", "I'm not sure, I only know words."),
    ),
    Exchange(
        ("What do you like?", "Do you have a hobby?", "What do you do for fun?", "What do you like to do?"),
        ("I like good conversations.", "I like words best.", "I like talking with people."),
    ),
    Exchange(
        ("Do you have a family?", "Do you have pets?", "Do you have a job?", "Do you have friends?"),
        ("No, but I like hearing about yours.", "No, I'm only a small language model."),
    ),
    Exchange(
        ("Are you happy?", "Do you have feelings?", "How do you feel?"),
        ("I don't feel much, but I like to talk.", "I'm a model, but talking to you is nice."),
    ),
    Exchange(
        ("How are you?", "How are you doing?", "How are you today?", "How is it going?", "Are you well?"),
        ("I'm fine, thank you.", "I'm very well, thanks.", "I'm well, thanks for asking."),
    ),
)

JOKE_ASKS: Lines = (
    *("Tell me a joke.", "Do you know a joke?", "Can you tell me a joke?", "Make me laugh.", "Another joke please."),
    *("Say something funny.", "Tell me something funny.", "Do you know any jokes?", "A joke, please."),
)
JOKES: Lines = (
    "Why did the bicycle fall over? It was two tired.",
    "What do you call a bear with no teeth? A gummy bear.",
    "Why do bees have sticky hair? They use a honeycomb.",
    "What kind of music do balloons hate? Pop music.",
    "Why did the tomato turn red? It saw the salad dressing.",
    "What do you call a sleeping bull? A bulldozer.",
    "How does the sea say hello? It waves.",
)

AFTER_JOKE = Exchange(
    ("Haha!", "Haha.", "That's funny.", "Very funny!", "That's a bad one.", "Good one!"),
    ("I'm glad you think so.", "I like it when people laugh.", "I know a few more of these."),
)

GOODBYES: Lines = (
    *("Bye.", "Bye!", "Goodbye.", "Goodbye!", "See you.", "I have to go now.", "I have to go, bye."),
    *("Good night.", "See you later."),
    *("Thanks, bye!", "That's all, thank you.", "Bye for now.", "I must go now. Goodbye."),
    *("Talk to you later.", "OK, bye."),
)
GOODBYE_REPLIES: Lines = (
    *("Goodbye!", "Bye! Take care.", "See you soon!", "Goodbye, and take care."),
    *("Bye, come back soon!", "Take care!"),
)
GOODBYE_NAMED: Lines = (
    "Goodbye, {n}!",
    "Bye, {n}!",
    "See you soon, {n}.",
    "Take care, {n}!",
    "Goodbye, {n}. Come back soon!",
)
GOODBYE_PET: Lines = ("Bye! Say hello to {p} from me.", "Goodbye! Give {p} my love.")

DECLINES = Exchange(
    ("I'd rather not say.", "That's a secret.", "I won't tell you.", "Not now."),
    ("That's fine.", "No problem.", "All right.", "As you like."),
)

ASK_LEADS: Lines = (
    *("By the way, ", "So, ", "OK, ", "Now, ", "Hey, ", "Quick question: ", "One more thing: ", "And "),
    *("Well, ", "Hmm, "),
    *("Let's see: ", "Just checking: ", "Say, ", "A little test: ", "I forgot, "),
)
TELL_LEADS: Lines = ("By the way, ", "You know, ", "Well, ", "Just so you know, ", "OK, ")
MORE_LEADS: Lines = ("Also, ", "Oh, and ", "And ", "And by the way, ", "Besides, ")  # after something else was told
CHAT_LEADS: Lines = ("By the way, ", "Well, ", "Hmm, ", "OK, ", "Oh, ")
CHATTY_LEADS: Lines = ("Haha, ", "Ooh, ", "Hey, ", "Oh, ", "OK so ")
