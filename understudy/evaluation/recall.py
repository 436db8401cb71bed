"""Measure what a model remembers: questions of the built-in conversations, answered greedily and scored exactly."""

from collections import defaultdict
from collections.abc import Sequence

from understudy.acting.rows import reserved_for_reply
from understudy.acting.sampling import SamplingConfig
from understudy.config import child_seed
from understudy.data.chat_template import render_prompt, truncate_prompt
from understudy.data.tokenizers import Tokenizer
from understudy.evaluation.replies import own_replies
from understudy.models.language_model import LanguageModel
from understudy.tasks.smalltalk import Question, SmallTalk, Split, is_right
from understudy.tasks.smalltalk import generate as make_talks

CONVERSATIONS = 150
LONGEST_ANSWER = 96


def answers(
    model: LanguageModel, tokenizer: Tokenizer, talks: Sequence[SmallTalk], most: int = 1000
) -> list[tuple[Question, str]]:
    """Return at most `most` questions, each with the model's answer, given what was said before as it was.

    The oldest exchanges are left out where they do not fit the context, as in a chat.
    """
    config = SamplingConfig(temperature=0.0, max_tokens=LONGEST_ANSWER)
    reserve = reserved_for_reply(model, config)
    asked = [(talk, question) for talk in talks for question in talk.questions][:most]
    # What the model itself said earlier would make one wrong answer the cause of others.
    prompts = []
    for talk, question in asked:
        kept, _ = truncate_prompt(talk.conversation.messages[: question.index], tokenizer, model.context, reserve)
        prompts.append(render_prompt(kept, tokenizer))
    replies = own_replies(model, tokenizer, prompts, config)
    return [(question, reply) for (_, question), reply in zip(asked, replies, strict=True)]


def shares_right(answered: Sequence[tuple[Question, str]]) -> dict[str, float]:
    """Return the share of right answers to each kind of question: "recall", "count" and so on.

    Answers to recall questions with accents or in other scripts are counted once more, as "scripts".
    """
    right: dict[str, list[bool]] = defaultdict(list)
    for question, reply in answered:
        right[question.kind].append(is_right(question, reply))
        if question.kind == "recall" and not question.answer.isascii():
            right["scripts"].append(is_right(question, reply))
    return {kind: sum(values) / len(values) for kind, values in sorted(right.items())}


def recall(model: LanguageModel, tokenizer: Tokenizer, seed: int, split: Split) -> dict[str, float]:
    """Return the share of right answers per kind of question, over conversations drawn from the run's `seed`."""
    talks = list(make_talks(CONVERSATIONS, child_seed(seed, "recall"), split))
    return shares_right(answers(model, tokenizer, talks))
