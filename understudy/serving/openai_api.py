"""OpenAI's API: chat completions, text completions and the list of models."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from understudy.acting.rows import reserved_for_reply
from understudy.acting.sampling import SamplingConfig
from understudy.data.chat_template import render_prompt, truncate_prompt
from understudy.data.conversations import Message
from understudy.errors import RefusedError, suggestion
from understudy.serving.answers import ChatAnswer, TextAnswer
from understudy.serving.metrics import Metrics
from understudy.serving.openai_schema import (
    ChatCompletion,
    ChatRequest,
    CompletionRequest,
    Model,
    ModelList,
    SamplingBody,
    TextCompletion,
)
from understudy.serving.replies import Served
from understudy.serving.sample import text_prompt

DEFAULT_CONTINUATION = 16
"""Tokens of a text's continuation, where a request does not say how many: OpenAI's number."""
EVENT = {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}
STREAM = {"content": {"text/event-stream": {"schema": EVENT}}}


def openai_routes(served: Mapping[str, Served], metrics: Metrics) -> APIRouter:
    """Return the routes by which OpenAI's clients talk with the served models."""
    router = APIRouter(prefix="/v1", tags=["openai"])

    def find(name: str) -> Served:
        if name not in served:
            hint = suggestion(name, served) or f"; there is {', '.join(served)}"
            raise RefusedError(404, f"no model {name!r} is served{hint}", "model", "model_not_found")
        return served[name]

    @router.post("/chat/completions", response_model=ChatCompletion, responses={200: STREAM})
    async def complete_chat(request: Request, asked: ChatRequest) -> Response:
        """Reply to a conversation, whole or as server-sent events."""
        answer = await run_in_threadpool(chat_answer, find(asked.model), asked)
        return await answer.response(request, metrics)

    @router.post("/completions", response_model=TextCompletion, responses={200: STREAM})
    async def complete_text(request: Request, asked: CompletionRequest) -> Response:
        """Continue one or several texts, whole or as server-sent events."""
        answer = await run_in_threadpool(text_answer, find(asked.model), asked)
        return await answer.response(request, metrics)

    @router.get("/models")
    def list_models() -> ModelList:
        """List the models that are served."""
        return ModelList(data=[Model(id=name, created=each.created) for name, each in served.items()])

    @router.get("/models/{model}")
    def describe_model(model: str) -> Model:
        """Tell whether a model is served."""
        return Model(id=model, created=find(model).created)

    return router


def chat_answer(served: Served, asked: ChatRequest) -> ChatAnswer:
    """Return the answer to a chat. What no longer fits the context leaves the prompt as it does in `understudy chat`.

    Raises:
        RefusedError: the request contradicts itself or the model.
        TooLongError: the system message and the last message leave too little room.
    """
    if not served.chats:
        raise RefusedError(
            400,
            f"{served.name} was trained on plain text and has not learned to take turns; use /v1/completions",
            "model",
        )
    if asked.top_logprobs is not None and not asked.logprobs:
        raise RefusedError(400, "top_logprobs goes with `logprobs: true` only", "top_logprobs")
    if asked.max_tokens is not None and asked.max_completion_tokens is not None:
        raise RefusedError(400, "max_tokens and max_completion_tokens mean the same; give one of them", "max_tokens")
    model, tokenizer = served.loaded.model, served.loaded.tokenizer
    sampling = sampling_config(asked, asked.max_tokens or asked.max_completion_tokens or model.context)

    said = [Message("system" if one.role == "developer" else one.role, one.text) for one in asked.messages]
    kept, dropped = truncate_prompt(said, tokenizer, model.context, reserved_for_reply(model, sampling))
    top_logprobs = (asked.top_logprobs or 0) if asked.logprobs else None
    extra: dict[str, Any] = {"understudy": {"dropped_messages": dropped}}
    return ChatAnswer(served, asked, [render_prompt(kept, tokenizer)], sampling, top_logprobs, extra)


def text_answer(served: Served, asked: CompletionRequest) -> TextAnswer:
    """Return the answer to texts, or token ids, that are to be continued."""
    prompts, known = [], served.loaded.model.vocab_size
    for given in asked.prompts:
        ids = text_prompt(served.loaded, given) if isinstance(given, str) else given
        if max(ids) >= known:
            raise RefusedError(400, f"the model has {known} tokens, so there is none of number {max(ids)}", "prompt")
        prompts.append(ids)
    sampling = sampling_config(asked, asked.max_tokens or DEFAULT_CONTINUATION)
    return TextAnswer(served, asked, prompts, sampling, asked.logprobs)


def sampling_config(asked: SamplingBody, max_tokens: int) -> SamplingConfig:
    """Return how a request wants its tokens drawn; what it leaves out is as OpenAI's API has it."""
    least = 1e-9  # which takes the likeliest token alone, as 0 would
    return SamplingConfig(
        temperature=1.0 if asked.temperature is None else asked.temperature,
        top_p=1.0 if asked.top_p is None else max(asked.top_p, least),
        max_tokens=max_tokens,
        stop=(asked.stop,) if isinstance(asked.stop, str) else tuple(asked.stop or ()),
        # Ours are not negative.
        sampling_seed=None if asked.seed is None else asked.seed & (2**63 - 1),
    )
